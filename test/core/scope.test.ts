/** Scopes are compared word by word; no word means more than it says. */
import t from 'tap';
import { grants, parseScopes, type ScopeName } from '../../gateway/core/scope.ts';

const inclusions = new Map<ScopeName, ReadonlySet<ScopeName>>([
  ['publish', new Set(['read'] as const)],
  ['finetune', new Set(['read'] as const)],
]);
const may = (claim: unknown, scope: ScopeName, model?: string) =>
  grants(parseScopes(claim), inclusions, scope, model);

t.test('a scope claim is words separated by one space, or an array of words', async (t) => {
  t.same(parseScopes('read publish:m1 train:m2'), [
    { scope: 'read' },
    { scope: 'publish', model: 'm1' },
    { scope: 'finetune', model: 'm2' },
  ]);
  t.same(parseScopes(['finetune:org/name:v2', 'read']), [
    { scope: 'finetune', model: 'org/name:v2' },
    { scope: 'read' },
  ]);
});

t.test('words that are not in the grammar grant nothing', async (t) => {
  const words = [
    '',
    'READ',
    'Read',
    'reads',
    'read:',
    ':m1',
    'train',
    'train:',
    '*',
    '*:m1',
    'admin',
    'read,publish',
  ];
  for (const word of [
    ...words,
    'read\tpublish',
    'read\npublish',
    'xread',
    'read publish'.replace(' ', '\xa0'),
    '__proto__',
  ]) {
    t.same(parseScopes(word), [], JSON.stringify(word));
  }
  for (const claim of [
    undefined,
    null,
    7,
    true,
    { read: true },
    [['read']],
    [7],
    ['read publish'],
    new Map(),
  ]) {
    t.same(parseScopes(claim), [], JSON.stringify(claim));
  }
  t.same(parseScopes('  read  '), [{ scope: 'read' }], 'empty words are ignored');
});

t.test('a scope grants itself and the scopes it includes', async (t) => {
  t.ok(may('finetune', 'finetune', 'm1'));
  t.ok(may('finetune', 'read', 'm1'));
  t.ok(may('publish', 'read'));
  t.notOk(may('finetune', 'publish', 'm1'), 'finetune never implies publish');
  t.notOk(may('publish', 'finetune', 'm1'));
  t.notOk(may('read', 'finetune', 'm1'));
  t.notOk(may('', 'read'));
});

t.test('a scope for one model grants nothing for another model or for none', async (t) => {
  t.ok(may('finetune:m1', 'finetune', 'm1'));
  t.ok(may('train:m1', 'read', 'm1'));
  for (const model of ['m2', 'm', 'm11', 'M1', '', undefined]) {
    t.notOk(may('finetune:m1', 'finetune', model), String(model));
  }
  t.notOk(may('read:*', 'read', 'm1'), 'a star is a model like any other');
  t.ok(may('read:*', 'read', '*'));
});

t.test('the inclusions of an included scope are not followed', async (t) => {
  const chain = new Map<ScopeName, ReadonlySet<ScopeName>>([
    ['publish', new Set(['finetune'] as const)],
    ['finetune', new Set(['read'] as const)],
  ]);
  t.notOk(grants(parseScopes('publish'), chain, 'read', undefined));
});
