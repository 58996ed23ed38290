/** A policy is one plain YAML document: anything that YAML could hide in it is a fault, found quickly. */

import t from 'tap';
import { z } from 'zod';
import { formatFault } from '../../gateway/core/fault.ts';
import { MIB } from '../../gateway/core/units.ts';
import { outlineOf } from '../../gateway/policy/outline.ts';
import { readFile } from '../../gateway/policy/read.ts';
import { YamlFile } from '../../gateway/policy/yaml-file.ts';
import { createAuthorities, writePolicyFolder } from './policy-folder.ts';

const TENANT = 'tenants/tenant-a.yaml';

function faultsOf(text: string): readonly string[] {
  const yaml = new YamlFile('f', text);
  if (yaml.faults.length > 0) t.equal(yaml.value, undefined);
  return yaml.faults.map(formatFault);
}

/** Nine layers of nine: 3 × 10⁸ values if they were ever expanded. */
const LAUGHS = Array.from({ length: 9 }, (_, layer) => {
  const below = layer === 0 ? 'lol' : `*l${layer - 1}`;
  return `l${layer}: &l${layer} [${Array(9).fill(below).join(', ')}]\n`;
}).join('');

const TABLE: readonly (readonly [title: string, text: string, ...faults: string[]])[] = [
  ['a key twice', 'a: 1\nb: 2\na: 3\n', 'f:3:1: duplicate key a'],
  ['a key twice, deeper, in quotes', 'a: { b: 1, c: { d: 1, "d": 2 } }\n', 'f:1:23: duplicate key d'],
  ['a key three times', '{ a: 1, a: 2, a: 3 }', 'f:1:9: duplicate key a', 'f:1:15: duplicate key a'],
  ['an alias', 'a: &x 1\nb: *x\n', 'f:2:4: aliases are not allowed (expected every value written out)'],
  [
    'a merge of an alias',
    'a: &x { b: 1 }\nc: { <<: *x }\n',
    'f:2:10: aliases are not allowed (expected every value written out)',
  ],
  ['a second document', 'a: 1\n---\nb: 2\n', 'f:2:1: a second document begins here'],
  ['a tag', 'a: !secret x\n', 'f:1:4: Unresolved tag: !secret'],
  ['a tag that makes bytes', 'a: !!binary aGk=\n', 'f:1:4: Unresolved tag: tag:yaml.org,2002:binary'],
  ['an unknown directive', '%FOO\n---\na: 1\n', 'f:1:1: Unknown directive %FOO'],
  ['tabs', 'a:\n\tb: 1\n', 'f:2:1: Tabs are not allowed as indentation'],
  [
    'an open list',
    'a: [1, 2\nb: 3\n',
    'f:2:1: Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['an open quote', "a: 'x\n", "f:2:1: Missing closing 'quote"],
  ['a colon too many', 'a: b: c\n', 'f:1:4: Nested mappings are not allowed in compact mappings'],
  ['an escape that is none', 'a: "\\q"\n', 'f:1:5: Invalid escape sequence \\q'],
  ['a number for a key', '1: a\n', 'f:1:1: the key is not text'],
  ['true for a key', 'true: a\n', 'f:1:1: the key is not text'],
  ['nothing for a key', '? \n: 2\n', 'f:1:3: the key is not text'],
  ['a mapping for a key', '? { a: 1 }\n: 2\n', 'f:1:1: the key is not text'],
  ['the prototype', '__proto__: { a: 1 }\n', 'f:1:1: the key __proto__ is not allowed'],
  ['a constructor', 'a: { constructor: 1 }\n', 'f:1:6: the key constructor is not allowed'],
];

for (const [title, text, ...faults] of TABLE) {
  t.test(`${title} is a fault in a YAML file`, async (t) => {
    t.same(faultsOf(text), faults);
  });
}

t.test('aliases upon aliases are counted and never followed', async (t) => {
  const faults = faultsOf(LAUGHS);
  t.equal(faults.length, 8 * 9);
  t.equal(faults[0], 'f:2:10: aliases are not allowed (expected every value written out)');
});

t.test('absurd nesting is one fault', async (t) => {
  for (const text of [`a: ${'['.repeat(5000)}${']'.repeat(5000)}`, `a: ${'{ a: '.repeat(20_000)}`]) {
    const [fault, ...more] = faultsOf(text);
    t.match(fault, /^f:1:\d+: is nested too deeply$/);
    t.same(more, []);
  }
});

t.test('a file over five megabytes is not even parsed', async (t) => {
  t.same(faultsOf(`a: ${'x'.repeat(5 * MIB)}`), ['f:1:1: the file is larger than 5242880 bytes']);
  t.same(faultsOf('a: '.padEnd(5 * MIB, 'x')), []);
});

t.test('a mapping with very many keys is read in one pass', async (t) => {
  const keys = Array.from({ length: 30_000 }, (_, index) => `k${index}: 1\n`).join('');
  t.same(faultsOf(`${keys}k7: 2\n`), ['f:30001:1: duplicate key k7']);
});

t.test('of very many faults the first hundred are listed and the rest counted', async (t) => {
  // Sixty thousand faults on one line of five megabytes.
  const escapes = faultsOf(`a: "${'\\q'.repeat(60_000)}${'x'.repeat(5_000_000)}"\n`);
  t.equal(escapes.length, 101);
  t.same(escapes.slice(98), [
    'f:1:201: Invalid escape sequence \\q',
    'f:1:203: Invalid escape sequence \\q',
    'f:1:205: 59900 more faults from here on',
  ]);
  t.equal(faultsOf('1: a\n'.repeat(100)).length, 100);
  t.equal(faultsOf(`{ ${'1,'.repeat(150_000)} }`).length, 101);
  const keys = Array.from({ length: 10_000 }, (_, index) => `k${index}: 1\n`).join('');
  const { faults, sound } = readFile('f', keys, z.strictObject({}));
  t.equal(faults.length, 101);
  t.same(faults.slice(99).map(formatFault), [
    'f:100:1 k99: unknown key k99',
    'f:101:1: 9900 more faults from here on',
  ]);
  t.equal(sound, undefined);
});

t.test('the place of a value is found without looking at each key before it', async (t) => {
  const yaml = new YamlFile('f', Array.from({ length: 60_000 }, (_, index) => `k${index}: 1\n`).join(''));
  const outline = outlineOf(yaml);
  const key = 'k59999';
  let misplaced = 0;
  for (let times = 0; times < 300_000; times++) {
    const places = [yaml.at([key], ''), yaml.atKey([], key, ''), outline.at([key], '')];
    if (!yaml.has([key]) || places.some(({ line }) => line !== 60_000)) misplaced += 1;
  }
  t.equal(misplaced, 0);
});

t.test('a path leads to a value or to nothing', async (t) => {
  const yaml = new YamlFile('f', 'a: { b: [1, { c: }], "7": x }\n');
  for (const path of [[], ['a'], ['a', 'b', 1], ['a', 'b', 1, 'c'], ['a', '7']])
    t.ok(yaml.has(path), path.join('.'));
  for (const path of [
    ['b'],
    ['a', 'b', 2],
    ['a', 'b', 1, 'd'],
    ['a', 'b', 0, 'c'],
    ['a', 7],
    ['a', 'c', 'd'],
  ])
    t.notOk(yaml.has(path), path.join('.'));
});

t.test('values are those of YAML 1.2, whatever the file declares', async (t) => {
  const { value } = new YamlFile('f', '%YAML 1.1\n---\na: yes\nb: off\nc: 010\nd: 1:30\n<<: { e: 1 }\n');
  t.same(value, { a: 'yes', b: 'off', c: 10, d: '1:30', '<<': { e: 1 } });
  t.same(new YamlFile('f', '\ufeffa: 0o17\r\nb: ~\r\n').value, { a: 15, b: null });
});

t.test('keys are given as written, and a value that is no mapping has none', async (t) => {
  const yaml = new YamlFile('f', 'a: { x: 1, y: { z: 1 } }\nb: [1]\n');
  t.same(yaml.keys([]), ['a', 'b']);
  t.same(yaml.keys(['a']), ['x', 'y']);
  t.same([yaml.keys(['a', 'x']), yaml.keys(['b']), yaml.keys(['c', 'd'])], [[], [], []]);
});

t.test('a file that is no mapping is a fault and affects no other file', async (t) => {
  const authorities = await createAuthorities();
  const folder = await writePolicyFolder(t, authorities);
  await folder.addTenant('tenant-b', 'b.example.com');
  const wrong = `${TENANT}:1:1: has the wrong type (expected a mapping)`;
  for (const text of ['', '# nothing\n', 'null\n', '- tenant-a\n', 'tenant-a\n']) {
    await folder.write(TENANT, text);
    const { faults, policy } = await folder.load();
    t.same(faults, [wrong], JSON.stringify(text));
    t.same([...(policy?.tenants.keys() ?? [])], ['tenant-b']);
  }
});

t.test('a merge key is treated as any key, and no policy accepts it', async (t) => {
  const authorities = await createAuthorities();
  const folder = await writePolicyFolder(t, authorities);
  await folder.edit(TENANT, 'require: { scope: read }', 'require: { scope: read, <<: { binding: off } }');
  t.same((await folder.load()).faults, [`${TENANT}:24:29 routes[1].require.<<: unknown key <<`]);
});
