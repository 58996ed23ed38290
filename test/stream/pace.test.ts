/** A caller is judged by the time it was waited for, and by no other. */
import t from 'tap';
import { SendingPace, TakingPace } from '../../gateway/stream/pace.ts';

/** 10 bytes a second over 5 seconds. */
const rule = { rate: { count: 10, perMs: 1000 }, graceMs: 5000 };

t.test(
  'who sends at the rate passes, who sends less does not, and nobody is judged before the grace',
  async (t) => {
    const pace = new SendingPace(rule);
    pace.wait(0);
    t.notOk(pace.isTooSlow(0, 4999), 'not yet');
    t.notOk(pace.isTooSlow(50, 5000), 'exactly the rate');
    t.notOk(pace.isTooSlow(50, 9999), 'the next span is not over');
    t.ok(pace.isTooSlow(99, 10_000), 'a byte less');
  },
);

t.test('a fast beginning earns no slow end', async (t) => {
  const pace = new SendingPace(rule);
  pace.wait(0);
  t.notOk(pace.isTooSlow(1_000_000, 5000));
  t.ok(pace.isTooSlow(1_000_000, 10_000));
});

t.test('time in which the node was waited for does not count', async (t) => {
  const pace = new SendingPace(rule);
  pace.wait(0);
  pace.rest(1000);
  t.notOk(pace.isTooSlow(0, 100_000), 'one second in all');
  pace.wait(100_000);
  pace.wait(101_000);
  t.notOk(pace.isTooSlow(0, 103_999));
  t.ok(pace.isTooSlow(0, 104_000));
});

t.test('outstanding bytes have their own time, and the grace', async (t) => {
  const pace = new TakingPace(rule);
  t.notOk(pace.isTooSlow(1_000_000), 'nothing is outstanding');
  pace.wait(100, 0);
  t.notOk(pace.isTooSlow(15_000), '100 bytes are ten seconds, and five of grace');
  t.ok(pace.isTooSlow(15_001));
});

t.test('who takes what it gets at the rate passes, who takes less does not', async (t) => {
  for (const [perTurnMs, isSlow] of [
    [10_000, false],
    [10_001, true],
  ] as const) {
    const pace = new TakingPace(rule);
    pace.wait(100, 0);
    pace.rest(perTurnMs);
    t.equal(pace.isTooSlow(perTurnMs), isSlow, `100 bytes in ${perTurnMs} ms`);
  }
});

t.test('time in which nothing is outstanding does not count', async (t) => {
  const pace = new TakingPace(rule);
  for (let turn = 0; turn < 100; turn++) {
    pace.wait(10, turn * 60_000);
    pace.rest(turn * 60_000 + 900);
    t.notOk(pace.isTooSlow(turn * 60_000 + 59_000));
  }
});
