/** An outline says of every value what the file says, and can be handed to another process. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { Outline, outlineOf } from '../../gateway/policy/outline.ts';
import type { Path } from '../../gateway/policy/places.ts';
import { YamlFile } from '../../gateway/policy/yaml-file.ts';

/** Every path of a value, each with some that lead nowhere. */
function pathsIn(value: unknown, path: Path = []): Path[] {
  const paths = [path, [...path, 'nobody'], [...path, 7], [...path, 'nobody', 0]];
  if (typeof value !== 'object' || value === null) return paths;
  for (const [key, member] of Object.entries(value))
    paths.push(...pathsIn(member, [...path, Array.isArray(value) ? Number(key) : key]));
  return paths;
}

const texts = new Map([
  ['shipped', readFileSync(new URL('../../policies/tenants/tenant-a.yaml', import.meta.url), 'utf8')],
  ['odd', 'a:\n  b: [1, { c: 2 },\n    3]\n  "7": x\n  empty:\n  flow: { d }\nz: {}\nlist:\n  -\n  - - 5\n'],
  ['empty', ''],
]);

for (const [name, text] of texts) {
  t.test(`the outline of the ${name} file gives the places of the file`, async (t) => {
    const yaml = new YamlFile('x.yaml', text);
    t.same(yaml.faults, []);
    const outline = outlineOf(yaml);
    const again = new Outline('x.yaml', structuredClone(outline.tables));
    for (const path of pathsIn(yaml.value)) {
      const expected = { ...yaml.at(path, 'is odd', 'better'), column: 1 };
      t.same(outline.at(path, 'is odd', 'better'), expected);
      t.same(again.at(path, 'is odd', 'better'), expected);
      t.same(again.keys(path), yaml.keys(path), `the keys at ${path.join('.')} are the same`);
    }
  });
}
