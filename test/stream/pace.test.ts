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

const MIB = 2 ** 20;
/** 1 MiB a second over 5 seconds: 7 seconds with the 2 MiB that are not seen. */
const quick = { rate: { count: MIB, perMs: 1000 }, graceMs: 5000 };

t.test('who takes nothing is waited for as long as the grace and what is not seen allow', async (t) => {
  const pace = new TakingPace(quick);
  t.notOk(pace.isTooSlow(0, 1_000_000), 'nobody waits for it');
  pace.wait(0);
  t.notOk(pace.isTooSlow(0, 7000));
  t.ok(pace.isTooSlow(0, 7001));
});

t.test(
  'who takes what it gets at the rate passes for ever, in lumps as well; who takes less does not',
  async (t) => {
    for (const [takenBytes, isSlow] of [
      [2 * MIB, false],
      [1.9 * MIB, true],
    ] as const) {
      const pace = new TakingPace(quick);
      let slowAt = 0;
      for (let turn = 1; turn <= 100 && slowAt === 0; turn++) {
        pace.wait(turn * 10_000);
        pace.rest(turn * 10_000 + 2000);
        if (pace.isTooSlow(turn * takenBytes, turn * 10_000 + 2000)) slowAt = turn;
      }
      t.equal(slowAt > 0, isSlow, `${takenBytes} bytes in two seconds each`);
    }
  },
);

t.test('a fast beginning earns no slow end here either', async (t) => {
  const pace = new TakingPace(quick);
  t.notOk(pace.isTooSlow(1000 * MIB, 0));
  pace.wait(0);
  t.ok(pace.isTooSlow(1000 * MIB, 7001));
});

t.test('time in which nothing is outstanding does not count', async (t) => {
  const pace = new TakingPace(quick);
  for (let turn = 0; turn < 100; turn++) {
    pace.wait(turn * 60_000);
    pace.rest(turn * 60_000 + 900);
    t.notOk(pace.isTooSlow(turn * MIB, turn * 60_000 + 59_000));
  }
});
