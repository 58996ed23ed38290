/** A name is looked up again and again, and its addresses stay if a look-up fails. */
import t, { type Test } from 'tap';
import { NodeResolver } from '../../gateway/relay/node-resolver.ts';
import { sleep } from '../path/stage.ts';

/** Gives one answer after the other, and repeats the last. */
function resolver(t: Test, answers: readonly (readonly string[] | string)[]) {
  const events: string[] = [];
  let asked = 0;
  const made = new NodeResolver({
    host: 'nodes.test',
    periodMs: 5,
    lookup: async (host) => {
      const answer = answers[Math.min(asked, answers.length - 1)] ?? [];
      asked += 1;
      if (typeof answer === 'string') throw Object.assign(new Error(`${host}: ${answer}`), { code: answer });
      return answer;
    },
    onAddresses: (addresses) => events.push(addresses.join(' ')),
    onFault: (reason) => events.push(`! ${reason}`),
  });
  t.teardown(() => made.close());
  const after = async (count: number): Promise<readonly string[]> => {
    while (asked <= count) await sleep(2);
    return events;
  };
  return { made, after };
}

t.test('addresses are reported when they change, sorted and without duplicates', async (t) => {
  const { after } = resolver(t, [
    ['10.0.0.2', '10.0.0.1'],
    ['10.0.0.1', '10.0.0.2', '10.0.0.1'],
    ['10.0.0.3'],
  ]);
  t.same(await after(4), ['10.0.0.1 10.0.0.2', '10.0.0.3']);
});

t.test('a look-up that fails or finds nothing is reported and changes nothing', async (t) => {
  const { made, after } = resolver(t, [
    'ENOTFOUND',
    'ENOTFOUND',
    ['10.0.0.1'],
    'EAI_AGAIN',
    [],
    ['10.0.0.1'],
    ['10.0.0.2'],
  ]);
  t.ok(made.isFirst);
  t.same(await after(7), ['! ENOTFOUND', '10.0.0.1', '! EAI_AGAIN', '! the name has no address', '10.0.0.2']);
  t.notOk(made.isFirst);
});

t.test('a name with endless addresses is cut off', async (t) => {
  const many = Array.from({ length: 300 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
  const { after } = resolver(t, [many]);
  t.equal((await after(1))[0]?.split(' ').length, 64);
});

t.test('a closed resolver asks and reports nothing more', async (t) => {
  const { made, after } = resolver(t, [['10.0.0.1'], ['10.0.0.2']]);
  made.close();
  await sleep(20);
  t.same(await after(0), []);
});
