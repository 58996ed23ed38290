/** A faulty file is looked through to its end: the parts that are sound are checked against one another. */
import t from 'tap';
import { z } from 'zod';
import { soundParts } from '../../gateway/policy/sound-parts.ts';

const schema = z.strictObject({
  lists: z.record(
    z.string(),
    z.strictObject({ cidrs: z.array(z.string().min(1)), note: z.string().optional() }),
  ),
  routes: z.array(z.strictObject({ name: z.string(), size: z.number().optional() })),
  mode: z.enum(['a', 'b']).prefault('a'),
});

function sound(value: unknown) {
  const result = schema.safeParse(value);
  return soundParts(schema, value, result.success ? [] : result.error.issues);
}

t.test('values with faults and unknown keys are left out, the others stay', async (t) => {
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
  t.same(written, before, 'what was given is not touched');
});

t.test('where a value that must be there is faulty, nothing is left to look at', async (t) => {
  t.equal(sound({ lists: {}, routes: [{ name: 7 }] }), undefined);
  t.equal(sound({ routes: [] }), undefined);
  t.equal(sound('text'), undefined);
  t.equal(sound(null), undefined);
});
