/** A Redis that is away, slow, full or not ours: nobody waits, late work is undone, and it is used again when it is well. */
import { Redis } from 'ioredis';
import t from 'tap';
import type { LimitStore } from '../../gateway/limits/limit-store.ts';
import type { Quotas } from '../../gateway/policy/policy.ts';
import { freePort, skipWithout, startRedis, until } from '../lists/servers.ts';
import { claimOf, DAY_MS, granted, type RedisStage, setRedisStage } from './redis-stage.ts';

const skip = skipWithout('redis-server', 'redis-server');
const LIMITS: Quotas = {
  requests: { count: 1000, perMs: DAY_MS },
  concurrent: 100,
  bytes: { count: 1000, perMs: DAY_MS },
};
/** How long a call may take that must not hang; the bench measures how long it takes. */
const MAX_MS = 1000;

/** Claims until the store is given up, and how long the slowest of them took. */
async function slowestUntilDown(store: LimitStore, limits = LIMITS): Promise<number> {
  let slowestMs = 0;
  for (let claims = 0; claims < 100 && store.isUp; claims++) {
    const beganMs = performance.now();
    await claimOf(store, limits);
    slowestMs = Math.max(slowestMs, performance.now() - beganMs);
  }
  return slowestMs;
}

/** What is used according to the keys of the holder. */
async function usedIn({ client }: RedisStage, store: LimitStore): Promise<readonly number[]> {
  const key = store.keyOf('h');
  const used = async (part: string): Promise<number> =>
    Math.round(Number((await client.get(`${key}:${part}`))?.split(' ')[1] ?? 0));
  return [await used('requests'), await client.zcard(`${key}:places`), await used('bytes')];
}

t.test('a Redis that stands still is left alone, and what it does late is undone', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const changes: string[] = [];
  const store = await stage.store({ changes });
  const kept = granted(await claimOf(store, LIMITS, { neededBytes: 10 }));
  stage.redis.pause();
  const late = await Promise.all(
    Array.from({ length: 20 }, () => claimOf(store, LIMITS, { neededBytes: 5 })),
  );
  t.same(new Set(late), new Set([undefined]), 'no claim has an answer');
  t.ok((await slowestUntilDown(store)) < MAX_MS);
  t.notOk(store.isUp);
  store.leave(store.keyOf('h'), kept.place);
  stage.redis.resume();
  t.ok(await until(() => store.isUp));
  t.ok(
    await until(async () => String(await usedIn(stage, store)) === '1,0,10'),
    'the place released meanwhile is given back too',
  );
  t.match(changes, [/^down: no answer within/, 'up']);
});

t.test(
  'a Redis that was killed is left alone at once and used again when it is back',
  { skip },
  async (t) => {
    const stage = await setRedisStage(t);
    const changes: string[] = [];
    const store = await stage.store({ changes });
    granted(await claimOf(store, LIMITS));
    await stage.redis.kill();
    t.ok(await until(() => !store.isUp));
    const before = store.state.failures;
    t.equal(await claimOf(store, LIMITS), undefined);
    t.equal(before.timeout, 0, 'nobody waited');
    await stage.redis.restart();
    t.ok(await until(() => store.isUp));
    t.ok(
      await until(async () => String(await usedIn(stage, store)) === '0,1,0'),
      'the place is known again, though Redis forgot it',
    );
    t.match(changes, [/^down: /, 'up']);
  },
);

t.test('when a connection is lost amid a hundred claims each of them is answered', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store();
  stage.redis.pause();
  const claims = Promise.all(Array.from({ length: 100 }, () => claimOf(store, LIMITS)));
  await stage.redis.kill();
  t.same(new Set(await claims), new Set([undefined]));
});

t.test('a Redis that is missing at the start is used when it comes', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  await stage.redis.kill();
  const store = await stage.store();
  t.notOk(store.isUp);
  await stage.redis.restart();
  t.ok(await until(() => store.isUp));
  granted(await claimOf(store, LIMITS));
});

t.test('a Redis that takes no writes is left alone until it does', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const master = await startRedis(t);
  const changes: string[] = [];
  const store = await stage.store({ changes });
  await stage.client.config('SET', 'maxmemory', '1');
  t.ok((await slowestUntilDown(store, { requests: { count: 1000, perMs: DAY_MS } })) < MAX_MS);
  t.notOk(store.isUp);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  t.notOk(store.isUp, 'its trial fails too');
  await stage.client.config('SET', 'maxmemory', '0');
  t.ok(await until(() => store.isUp));
  await stage.client.replicaof('127.0.0.1', master.port);
  await slowestUntilDown(store);
  await stage.client.replicaof('NO', 'ONE');
  t.ok(await until(() => store.isUp));
  t.match(changes, [/^down: OOM /, 'up', /^down: (?:READONLY|LOADING|MASTERDOWN)/, 'up']);
});

t.test('a wrong password is a failed connection and appears in no message', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  await stage.client.config('SET', 'requirepass', 'right');
  for (const user of [':wr0ng-secret@', 'someone:wr0ng-secret@', '']) {
    const changes: string[] = [];
    const store = await stage.store({ url: `redis://${user}127.0.0.1:${stage.redis.port}`, changes });
    t.notOk(store.isUp);
    t.equal(await claimOf(store, LIMITS), undefined);
    t.match(changes, [/^down: (?:WRONGPASS|NOAUTH) /]);
    t.notMatch(JSON.stringify(changes), 'secret');
  }
  const store = await stage.store({ url: `redis://:right@127.0.0.1:${stage.redis.port}` });
  granted(await claimOf(store, LIMITS));
});

t.test('a server that is no Redis is left alone', async (t) => {
  const { createServer } = await import('node:net');
  const port = await freePort();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  }).listen(port, '127.0.0.1');
  t.teardown(() => server.close());
  const { LimitStore } = await import('../../gateway/limits/limit-store.ts');
  const state = { redis: `redis://127.0.0.1:${port}`, prefix: 'p:', onFailure: 'local' } as const;
  const store = new LimitStore(state, () => undefined);
  t.teardown(() => store.close());
  await store.open();
  t.notOk(store.isUp);
  t.equal(await claimOf(store, LIMITS), undefined);
});

t.test('gateways return to Redis one trial at a time', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const store = await stage.store();
  await stage.redis.kill();
  t.ok(await until(() => !store.isUp));
  const before = store.state.failures.connection;
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const trials = store.state.failures.connection - before;
  t.ok(trials >= 1 && trials <= 3, `there were ${trials} trials in three seconds`);
});

t.test('a gateway that leaves gives back its places and is no longer counted', { skip }, async (t) => {
  const stage = await setRedisStage(t);
  const [store, other] = [await stage.store(), await stage.store()];
  granted(await claimOf(store, LIMITS));
  store.close();
  t.ok(await until(async () => (await usedIn(stage, store))[1] === 0));
  t.ok(await until(() => other.state.gateways === 1));
  const client = new Redis(stage.redis.port, '127.0.0.1');
  t.teardown(() => client.disconnect());
  t.equal(await client.zcard('test:gateways'), 1);
});
