/** Limits in a real Redis: a claim is all or nothing, on the clock of Redis, whatever is in the keys. */
import t from 'tap';
import { LEASE_MS } from '../../gateway/limits/limit-store.ts';
import type { LimitsLeft } from '../../gateway/limits/limits-backend.ts';
import type { Quotas } from '../../gateway/policy/policy.ts';
import { freePort, skipWithout, until } from '../lists/servers.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { claimOf, DAY_MS, granted, setRedisStage } from './redis-stage.ts';

const skip = skipWithout('redis-server', 'redis-server');
const perDay = (count: number) => ({ count, perMs: DAY_MS });

t.test('claims of two gateways count against one limit', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const [a, b] = [await stage.store({ patient: true }), await stage.store({ patient: true })];
  const limits: Quotas = { requests: perDay(3), concurrent: 10, bytes: perDay(1000) };
  t.match(await claimOf(a, limits, { neededBytes: 100, wantedBytes: 300 }), {
    kind: 'grant',
    left: { requests: 2, concurrent: 9, bytes: 700 },
    bytes: 300,
  });
  t.match(await claimOf(b, limits, { neededBytes: 1, wantedBytes: 900 }), {
    left: { requests: 1, concurrent: 8, bytes: 0 },
    bytes: 700,
  });
  t.match(await claimOf(a, limits), { kind: 'grant', left: { requests: 0, concurrent: 7, bytes: 0 } });
  const refused = await claimOf(b, limits);
  t.match(refused, { kind: 'refusal', limit: 'requests', left: 0 });
  const waitMs = refused?.kind === 'refusal' ? refused.waitMs : 0;
  t.ok(
    waitMs > DAY_MS / 3 - 60_000 && waitMs <= DAY_MS / 3,
    'the wait lasts until one request has come back',
  );
  t.match(await claimOf(b, limits, { holder: 'other' }), { kind: 'grant', left: { requests: 2 } });
});

t.test('a claim refused by one limit takes nothing from the others', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const limits: Quotas = { requests: perDay(10), concurrent: 2, bytes: perDay(100) };
  t.match(await claimOf(store, limits, { neededBytes: 101 }), { limit: 'bytes', left: 100 });
  const first = granted(await claimOf(store, limits, { neededBytes: 60 }));
  t.match(first.left, { requests: 9, concurrent: 1, bytes: 40 });
  t.match(await claimOf(store, limits, { neededBytes: 41 }), { kind: 'refusal', limit: 'bytes', left: 40 });
  granted(await claimOf(store, limits));
  t.match(await claimOf(store, limits, { neededBytes: 1 }), { kind: 'refusal', limit: 'concurrent' });
  store.leave(store.keyOf('h'), first.place);
  t.match(await claimOf(store, limits), { left: { requests: 7, concurrent: 0, bytes: 40 } });
});

/** Counts two hundred requests, five at once and ten thousand bytes by hand. */
class Kept {
  requests = 0;
  readonly places: string[] = [];
  bytes = 0;

  refusal(neededBytes: number): string | undefined {
    if (this.places.length >= 5) return 'concurrent';
    if (this.requests >= 200) return 'requests';
    return this.bytes + neededBytes > 10_000 ? 'bytes' : undefined;
  }

  agrees({ requests = 0, concurrent = 0, bytes = 0 }: LimitsLeft): boolean {
    const isSame = bytes === Math.max(0, 10_000 - this.bytes);
    return isSame && requests === 200 - this.requests && concurrent === 5 - this.places.length;
  }
}

t.test('claims and returns agree with a count kept by hand', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const random = new SeededRandom(8);
  // The rate is so slow that nothing comes back while the test runs.
  const perMs = 10_000 * DAY_MS;
  const limits: Quotas = {
    requests: { count: 200, perMs },
    concurrent: 5,
    bytes: { count: 10_000, perMs },
  };
  const key = store.keyOf('h');
  const kept = new Kept();
  for (let turn = 0; turn < 2000; turn++) {
    const place = random.next() < 0.4 ? kept.places.pop() : undefined;
    if (place !== undefined) {
      const bytes = random.below(500) - 20;
      store.leave(key, place);
      store.giveBackBytes(key, limits, bytes);
      kept.bytes = Math.max(0, kept.bytes - bytes);
      continue;
    }
    const neededBytes = 1 + random.below(300);
    const answer = await claimOf(store, limits, {
      neededBytes,
      wantedBytes: neededBytes + random.below(300),
    });
    const refused = answer?.kind === 'refusal' ? answer.limit : undefined;
    if (refused !== kept.refusal(neededBytes)) t.fail(`turn ${turn} was not refused as counted: ${refused}`);
    if (answer?.kind !== 'grant') continue;
    kept.requests += 1;
    kept.places.push(answer.place);
    kept.bytes += answer.bytes;
    if (!kept.agrees(answer.left))
      t.fail(`turn ${turn} left another rest: ${JSON.stringify({ left: answer.left, kept })}`);
  }
  t.equal(kept.requests, 200);
});

t.test('used requests come back evenly', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const limits: Quotas = { requests: { count: 20, perMs: 1000 } };
  const beganMs = performance.now();
  let [tooEarly, longestWaitMs] = [0, 0];
  for (let passed = 0; passed < 45; ) {
    const answer = await claimOf(store, limits);
    if (answer?.kind === 'refusal') longestWaitMs = Math.max(longestWaitMs, answer.waitMs);
    if (answer?.kind !== 'grant') continue;
    passed += 1;
    if (passed > 20 + ((performance.now() - beganMs) / 1000) * 20 + 1) tooEarly += 1;
  }
  t.equal(tooEarly, 0);
  t.ok(
    longestWaitMs > 0 && longestWaitMs <= 50,
    `the next request is never further away than 50 ms: ${longestWaitMs} ms`,
  );
});

t.test('every rate admits exactly its count at once', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  for (const count of [1, 3, 7, 11, 97]) {
    const limits: Quotas = { requests: perDay(count) };
    const answers = await Promise.all(
      Array.from({ length: count + 5 }, () => claimOf(store, limits, { holder: `of ${count}` })),
    );
    t.equal(answers.filter((answer) => answer?.kind === 'grant').length, count, String(count));
  }
});

t.test('all keys expire, and no caller can choose one', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const limits: Quotas = { requests: perDay(3), concurrent: 3, bytes: perDay(1000) };
  const holder = JSON.stringify(['a', 'r', 'subject', 'i', '}:requests\r\n*']);
  granted(await claimOf(store, limits, { holder, neededBytes: 1 }));
  const keys = (await stage.client.keys('test:limits:*')).sort();
  t.equal(keys.length, 3);
  for (const key of keys) {
    t.match(key, /^test:limits:\{[A-Za-z0-9_-]{43}\}:(?:requests|places|bytes)$/);
    const lifeMs = await stage.client.pttl(key);
    t.ok(lifeMs > 0 && lifeMs <= DAY_MS, `${key} lives for ${lifeMs} ms`);
  }
  t.ok((await stage.client.pttl('test:gateways')) > 0);
});

t.test('a gateway that was killed frees its places when its leases end', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const limits: Quotas = { concurrent: 1 };
  const { place } = granted(await claimOf(store, limits));
  const key = `${store.keyOf('h')}:places`;
  const [seconds] = await stage.client.time();
  const endsS = Number(await stage.client.zscore(key, place)) / 1e6;
  t.ok(Math.abs(endsS - Number(seconds) - LEASE_MS / 1000) < 2, 'the lease ends one lease time from now');
  const other = await stage.store({ patient: true });
  t.match(await claimOf(other, limits), { kind: 'refusal', limit: 'concurrent' });
  await stage.client.zadd(key, Number(seconds) * 1e6 - 1, place);
  granted(await claimOf(other, limits));
});

t.test('a place is held for as long as it is used', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const { place } = granted(await claimOf(store, { concurrent: 1 }));
  const key = `${store.keyOf('h')}:places`;
  const first = Number(await stage.client.zscore(key, place));
  t.ok(await until(async () => Number(await stage.client.zscore(key, place)) > first, LEASE_MS));
  store.leave(store.keyOf('h'), place);
  t.ok(await until(async () => (await stage.client.exists(key)) === 0));
});

/** Foreign contents of a key; each is followed by a claim that must be granted. */
const rubbish: Readonly<Record<string, (name: string) => readonly string[]>> = {
  'a text': (name) => ['SET', name, 'rubbish'],
  'an empty text': (name) => ['SET', name, ''],
  'numbers that are none': (name) => ['SET', name, '12 nan'],
  'a used amount below nothing': (name) => ['SET', name, '12 -1e300'],
  'a hundred kilobytes': (name) => ['SET', name, '9'.repeat(100_000)],
  'a list': (name) => ['LPUSH', name, 'x'],
  'a hash': (name) => ['HSET', name, 'x', 'y'],
  'a set': (name) => ['SADD', name, 'x'],
};

t.test('rubbish in a key counts as nothing and is gone afterwards', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const limits: Quotas = { requests: perDay(3), concurrent: 3, bytes: perDay(1000) };
  for (const [title, commandFor] of Object.entries(rubbish)) {
    const key = store.keyOf(title);
    for (const part of ['requests', 'places', 'bytes']) {
      const [command = '', ...args] = commandFor(`${key}:${part}`);
      await stage.client.call(command, ...args);
    }
    const answer = await claimOf(store, limits, { holder: title, neededBytes: 1 });
    t.match(answer, { kind: 'grant', left: { requests: 2, concurrent: 2, bytes: 999 } }, title);
    t.match(await claimOf(store, limits, { holder: title }), { left: { requests: 1, concurrent: 1 } }, title);
  }
  await stage.client.set('test:gateways', 'rubbish');
  const late = await stage.store({ patient: true });
  t.equal(late.state.gateways, 1);
  t.ok(store.isUp && late.isUp);
});

t.test('nobody has to wait because a clock was set back', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  const limits: Quotas = { requests: { count: 10, perMs: 1000 }, concurrent: 2 };
  const [seconds] = await stage.client.time();
  const inAnHour = (Number(seconds) + 3600) * 1e6;
  await stage.client.set(`${store.keyOf('h')}:requests`, `${inAnHour} 10`);
  await stage.client.zadd(`${store.keyOf('h')}:places`, inAnHour, 'before');
  t.match(await claimOf(store, limits), { kind: 'refusal', limit: 'requests', waitMs: 100 });
  t.ok(await until(async () => (await claimOf(store, limits))?.kind === 'grant'));
  const endsS = Number(await stage.client.zscore(`${store.keyOf('h')}:places`, 'before')) / 1e6;
  t.ok(endsS <= Number(seconds) + LEASE_MS / 1000 + 10, 'a place is held for at most one lease');
});

t.test('a Redis that has forgotten the scripts is given them again', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store({ patient: true });
  granted(await claimOf(store, { requests: perDay(3) }));
  await stage.client.script('FLUSH');
  t.match(await claimOf(store, { requests: perDay(3) }), { kind: 'grant', left: { requests: 1 } });
  t.equal(store.state.failures.refused, 0);
});

t.test('gateways know how many they are, even after one has left', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const [a, b, c] = [
    await stage.store({ patient: true }),
    await stage.store({ patient: true }),
    await stage.store({ patient: true }),
  ];
  t.equal(c.state.gateways, 3);
  t.ok(await until(() => a.state.gateways === 3));
  b.close();
  t.ok(await until(() => a.state.gateways === 2));
});

t.test('all keys of a claim are in one slot of a cluster', { skip }, async (t) => {
  const stage = await setRedisStage(t, [
    '--cluster-enabled',
    'yes',
    '--cluster-port',
    String(await freePort()),
  ]);
  await stage.client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  const limits: Quotas = { requests: perDay(3), concurrent: 3, bytes: perDay(1000) };
  t.ok(await until(async () => /cluster_state:ok/.test(String(await stage.client.call('CLUSTER', 'INFO')))));
  const store = await stage.store({ patient: true });
  for (const holder of ['a', 'b', 'c'])
    t.match(await claimOf(store, limits, { holder, neededBytes: 1 }), { kind: 'grant' });
  t.same(store.state.failures, { timeout: 0, connection: 0, refused: 0 });
});
