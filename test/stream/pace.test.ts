/** A caller is judged by the time it was waited for, and by no other. */

import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { SendingPace, TakingPace } from '../../gateway/stream/pace.ts';

let nowMs = 0;
const clock = (): number => nowMs;

/** 10 bytes a second over 5 seconds. */
const rule = { rate: { count: 10, perMs: 1000 }, graceMs: 5000 };

t.test(
  'who sends at the rate passes, who sends less does not, and nobody is judged before the grace',
  async (t) => {
    const pace = new SendingPace(rule, clock);
    nowMs = 0;
    pace.wait();
    nowMs = 4999;
    t.notOk(pace.isTooSlow(0), 'not yet');
    nowMs = 5000;
    t.notOk(pace.isTooSlow(50), 'exactly the rate');
    nowMs = 9999;
    t.notOk(pace.isTooSlow(50), 'the next span is not over');
    nowMs = 10_000;
    t.ok(pace.isTooSlow(99), 'a byte less');
  },
);

t.test('a fast beginning earns no slow end', async (t) => {
  const pace = new SendingPace(rule, clock);
  nowMs = 0;
  pace.wait();
  nowMs = 5000;
  t.notOk(pace.isTooSlow(1_000_000));
  nowMs = 10_000;
  t.ok(pace.isTooSlow(1_000_000));
});

t.test('time in which the node was waited for does not count', async (t) => {
  const pace = new SendingPace(rule, clock);
  nowMs = 0;
  pace.wait();
  nowMs = 1000;
  pace.rest();
  nowMs = 100_000;
  t.notOk(pace.isTooSlow(0), 'one second in all');
  nowMs = 100_000;
  pace.wait();
  nowMs = 101_000;
  pace.wait();
  nowMs = 103_999;
  t.notOk(pace.isTooSlow(0));
  nowMs = 104_000;
  t.ok(pace.isTooSlow(0));
});

/** 1 MiB a second over 5 seconds: 7 seconds with the 2 MiB that are not seen. */
const quick = { rate: { count: MIB, perMs: 1000 }, graceMs: 5000 };

t.test('who takes nothing is waited for as long as the grace and what is not seen allow', async (t) => {
  const pace = new TakingPace(quick, clock);
  nowMs = 1_000_000;
  t.notOk(pace.isTooSlow(0), 'nobody waits for it');
  nowMs = 0;
  pace.wait();
  nowMs = 7000;
  t.notOk(pace.isTooSlow(0));
  nowMs = 7001;
  t.ok(pace.isTooSlow(0));
});

t.test(
  'who takes what it gets at the rate passes for ever, in lumps as well; who takes less does not',
  async (t) => {
    for (const [takenBytes, isSlow] of [
      [2 * MIB, false],
      [1.9 * MIB, true],
    ] as const) {
      const pace = new TakingPace(quick, clock);
      let slowAt = 0;
      for (let turn = 1; turn <= 100 && slowAt === 0; turn++) {
        nowMs = turn * 10_000;
        pace.wait();
        nowMs = turn * 10_000 + 2000;
        pace.rest();
        nowMs = turn * 10_000 + 2000;
        if (pace.isTooSlow(turn * takenBytes)) slowAt = turn;
      }
      t.equal(slowAt > 0, isSlow, `${takenBytes} bytes in two seconds each`);
    }
  },
);

t.test('a fast beginning earns no slow end here either', async (t) => {
  const pace = new TakingPace(quick, clock);
  nowMs = 0;
  t.notOk(pace.isTooSlow(1000 * MIB));
  nowMs = 0;
  pace.wait();
  nowMs = 7001;
  t.ok(pace.isTooSlow(1000 * MIB));
});

t.test('time in which nothing is outstanding does not count', async (t) => {
  const pace = new TakingPace(quick, clock);
  for (let turn = 0; turn < 100; turn++) {
    nowMs = turn * 60_000;
    pace.wait();
    nowMs = turn * 60_000 + 900;
    pace.rest();
    nowMs = turn * 60_000 + 59_000;
    t.notOk(pace.isTooSlow(turn * MIB));
  }
});
