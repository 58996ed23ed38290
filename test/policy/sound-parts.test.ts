/** A faulty file is examined to its end: its sound parts are checked against each other. */
import t from 'tap';
import { z } from 'zod';
import { fileFault } from '../../gateway/core/fault.ts';
import { formatPath, type Places } from '../../gateway/policy/places.ts';
import { soundParts } from '../../gateway/policy/sound-parts.ts';

const schema = z.strictObject({
  lists: z.record(
    z.string(),
    z.strictObject({ cidrs: z.array(z.string().min(1)), note: z.string().optional() }),
  ),
  routes: z.array(z.strictObject({ name: z.string(), size: z.number().optional() })),
  mode: z.enum(['a', 'b']).prefault('a'),
});

const noPlaces: Places = {
  file: 'x.yaml',
  pathOf: (written) => written,
  keys: () => [],
  at: (path, problem) => ({ ...fileFault('x.yaml', problem), path: formatPath(path) }),
};

function partsOf(value: unknown) {
  const result = schema.safeParse(value);
  return soundParts(schema, value, result.success ? [] : result.error.issues, noPlaces);
}

const sound = (value: unknown) => partsOf(value)?.contents;

t.test('values with faults and unknown keys are left out, and the others stay', async (t) => {
  const written = {
    lists: { x: { cidrs: ['', 'one', '', 'two'], note: 3 } },
    routes: [{ name: 'r', size: 'large', colour: 'red' }],
    mode: 'c',
    more: true,
  };
  const before = structuredClone(written);
  t.same(sound(written), {
    lists: { x: { cidrs: ['one', 'two'] } },
    routes: [{ name: 'r' }],
    mode: 'a',
  });
  t.same(written, before, 'the input is not changed');
});

t.test('if a required value is faulty nothing is left to look at', async (t) => {
  t.equal(sound({ lists: {}, routes: [{ name: 7 }] }), undefined);
  t.equal(sound({ routes: [] }), undefined);
  t.equal(sound('text'), undefined);
  t.equal(sound(null), undefined);
});

t.test('a list entry is placed where the file has it, not by its index among sound ones', async (t) => {
  const parts = partsOf({
    lists: { x: { cidrs: ['', 'one', '', '', 'two', 'three', ''] }, y: { cidrs: ['one'] } },
    routes: [{ name: 'r' }],
  });
  t.same(parts?.contents.lists['x']?.cidrs, ['one', 'two', 'three']);
  const placeOf = (...path: (string | number)[]): string | undefined => parts?.places.at(path, '').path;
  t.equal(placeOf('lists', 'x', 'cidrs', 0), 'lists.x.cidrs[1]');
  t.equal(placeOf('lists', 'x', 'cidrs', 1), 'lists.x.cidrs[4]');
  t.equal(placeOf('lists', 'x', 'cidrs', 2), 'lists.x.cidrs[5]');
  t.equal(placeOf('lists', 'y', 'cidrs', 0), 'lists.y.cidrs[0]', 'another list is not affected');
  t.equal(placeOf('routes', 0, 'name'), 'routes[0].name');
});
