/** A caller is judged only by the time in which it was waited for. */

import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { SendingPace, TakingPace } from '../../gateway/stream/pace.ts';

let nowMs = 0;
const clock = (): number => nowMs;

/** 10 bytes per second over 5 seconds. */
const rule = { rate: { count: 10, perMs: 1000 }, graceMs: 5000 };

t.test('a caller is judged after the grace, and passes if it sends at the rate', async (t) => {
  const pace = new SendingPace(rule, clock);
  nowMs = 0;
  pace.wait();
  nowMs = 4999;
  t.notOk(pace.isTooSlow(0), 'it is not judged yet');
  nowMs = 5000;
  t.notOk(pace.isTooSlow(50), 'exactly the rate passes');
  nowMs = 9999;
  t.notOk(pace.isTooSlow(50), 'the next span is not over');
  nowMs = 10_000;
  t.ok(pace.isTooSlow(99), 'one byte less is too slow');
});

t.test('a fast beginning does not excuse a slow end', async (t) => {
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
  t.notOk(pace.isTooSlow(0), 'it was waited for one second in total');
  nowMs = 100_000;
  pace.wait();
  nowMs = 101_000;
  pace.wait();
  nowMs = 103_999;
  t.notOk(pace.isTooSlow(0));
  nowMs = 104_000;
  t.ok(pace.isTooSlow(0));
});

/** 1 MiB per second over 5 seconds, which makes 7 seconds with the 2 MiB that are not visible. */
const quick = { rate: { count: MIB, perMs: 1000 }, graceMs: 5000 };

t.test('a caller that takes nothing is given the grace and the time of invisible bytes', async (t) => {
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

t.test('a caller that takes at the rate passes for ever, and a slower one does not', async (t) => {
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
    t.equal(slowAt > 0, isSlow, `${takenBytes} bytes in two seconds each are judged right`);
  }
});

t.test('a fast beginning does not excuse slow taking at the end', async (t) => {
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
