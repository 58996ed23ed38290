/** An address that keeps failing must wait; other addresses need not. */
import t from 'tap';
import { FailedVerifications } from '../../gateway/keys/failed-verifications.ts';
import { address } from '../checks/situation.ts';

const a = address('203.0.113.5');

t.test('an address may fail so often at once, and then once per interval', async (t) => {
  const failed = new FailedVerifications({ count: 3, perMs: 3000 });
  for (let each = 0; each < 3; each++) {
    t.equal(failed.waitMs(a, 1000), 0);
    failed.record(a, 1000);
  }
  t.equal(failed.waitMs(a, 1000), 1000);
  t.equal(failed.waitMs(a, 1999), 1);
  t.equal(failed.waitMs(a, 2000), 0);
  failed.record(a, 2000);
  t.equal(failed.waitMs(a, 2000), 1000);
  t.equal(failed.waitMs(a, 60_000), 0);
  t.equal(failed.waitMs(address('203.0.113.6'), 2000), 0, 'another address does not wait');
});

t.test('a caller with IPv6 counts by its network', async (t) => {
  const failed = new FailedVerifications({ count: 1, perMs: 1000 });
  failed.record(address('2001:db8::1'), 0);
  t.equal(failed.waitMs(address('2001:db8::ffff:1'), 0), 1000);
  t.equal(failed.waitMs(address('2001:db8:0:1::1'), 0), 0);
});

t.test('memory is bounded', async (t) => {
  const failed = new FailedVerifications({ count: 1, perMs: 1000 }, { capacity: 2 });
  for (const last of [1, 2, 3]) failed.record(address(`203.0.113.${last}`), 0);
  t.equal(failed.size, 2);
  t.equal(failed.waitMs(address('203.0.113.1'), 0), 0, 'the first address was evicted');
  t.equal(failed.waitMs(address('203.0.113.3'), 0), 1000);
});

t.test('each of several processes allows an address its share of the failures', async (t) => {
  const failed = new FailedVerifications({ count: 3, perMs: 3000 });
  failed.divideAmong(2);
  for (let each = 0; each < 2; each++) {
    t.equal(failed.waitMs(a, 1000), 0);
    failed.record(a, 1000);
  }
  t.equal(failed.waitMs(a, 1000), 1500);
  failed.divideAmong(1);
  t.equal(failed.waitMs(a, 1000), 1000, 'a reload counts from the whole again');
});

/** What was answered so far, in the order of the questions. */
function begun(failed: FailedVerifications, count: number, nowMs: number) {
  const answers: (number | undefined)[] = new Array(count).fill(undefined);
  const questions = answers.map(async (_, index) => {
    answers[index] = await failed.begin(a, nowMs);
  });
  return { answers, all: Promise.all(questions) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('no more go on at once than may still fail; others wait for them', async (t) => {
  const failed = new FailedVerifications({ count: 3, perMs: 3000 });
  failed.record(a, 1000);
  const { answers, all } = begun(failed, 5, 1000);
  await turn();
  t.same(answers, [0, 0, undefined, undefined, undefined]);
  t.equal(await failed.begin(address('203.0.113.6'), 1000), 0, 'another address');
  failed.end(a, 1000, false);
  await turn();
  t.same(answers, [0, 0, 0, undefined, undefined], 'one that was right makes room');
  failed.end(a, 1000, true);
  await turn();
  t.same(answers, [0, 0, 0, undefined, undefined], 'one that was wrong makes none');
  failed.end(a, 1000, true);
  await all;
  t.same(answers, [0, 0, 0, 1000, 1000], 'all failures are used up');
  t.equal(await failed.begin(a, 2000), 0);
});

t.test('a crowd that is right passes, however many, and leaves nothing behind', async (t) => {
  const failed = new FailedVerifications({ count: 2, perMs: 3_600_000 });
  let most = 0;
  let now = 0;
  const one = async (): Promise<number> => {
    const waitMs = await failed.begin(a, 0);
    most = Math.max(most, ++now);
    await turn();
    now -= 1;
    failed.end(a, 0, false);
    return waitMs;
  };
  t.same(await Promise.all(Array.from({ length: 500 }, one)), new Array(500).fill(0));
  t.equal(most, 2);
  t.equal(failed.size, 0);
});

t.test('nobody waits for ever', async (t) => {
  const failed = new FailedVerifications({ count: 1, perMs: 60_000 }, { longestWaitMs: 20 });
  t.equal(await failed.begin(a, 0), 0);
  t.equal(await failed.begin(a, 0), 60_000);
  failed.end(a, 0, false);
  t.equal(await failed.begin(a, 0), 0, 'and who gave up takes no place');
});
