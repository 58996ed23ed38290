/** Shared limits in one gateway: bytes in chunks, and requests and streams while Redis is away. */

import t, { type Test } from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { gatewayShare } from '../../gateway/limits/gateway-share.ts';
import type { LimitStore } from '../../gateway/limits/limit-store.ts';
import type { LimitLease, LimitRefusal } from '../../gateway/limits/limits-backend.ts';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import { SharedLimits } from '../../gateway/limits/shared-limits.ts';
import type { SharedState } from '../../gateway/policy/gateway-settings.ts';
import type { Quotas } from '../../gateway/policy/policy.ts';
import { skipWithout, until } from '../lists/servers.ts';
import { claimOf, DAY_MS, type RedisStage, setRedisStage } from './redis-stage.ts';

const skip = skipWithout('redis-server', 'redis-server');
const now = (): number => performance.now();

interface Sharing {
  readonly stage: RedisStage;
  readonly store: LimitStore;
  readonly local: LocalLimits;
  readonly limits: SharedLimits;
}

async function share(t: Test, onFailure: SharedState['onFailure'] = 'local'): Promise<Sharing> {
  const stage = await setRedisStage(t);
  const store = await stage.store();
  const local = new LocalLimits();
  const limits = new SharedLimits(store, local, onFailure);
  t.teardown(() => limits.close());
  return { stage, store, local, limits };
}

function ask({ limits }: Sharing, quotas: Quotas, declaredBytes = 0): Promise<LimitLease | LimitRefusal> {
  return Promise.resolve(limits.claim({ holder: 'h', limits: quotas, declaredBytes }, now()));
}

function lease(answer: LimitLease | LimitRefusal): LimitLease {
  if (answer.kind === 'refusal') throw new Error(`${answer.backend} refused ${answer.limit}`);
  return answer;
}

/** Used bytes of the budget, as Redis sees them. */
async function usedBytes({ stage, store }: Sharing): Promise<number> {
  const text = await stage.client.get(`${store.keyOf('h')}:bytes`);
  return Math.round(Number(text?.split(' ')[1] ?? 0));
}

async function scriptsRun({ stage }: Sharing): Promise<number> {
  const [, calls = '0'] = /cmdstat_evalsha:calls=(\d+)/.exec(await stage.client.info('commandstats')) ?? [];
  return Number(calls);
}

async function away(sharing: Sharing): Promise<void> {
  await sharing.stage.redis.kill();
  await until(() => !sharing.store.isUp);
}

t.test(
  'no more is told to be left than there is, though what is held here has come back there',
  { skip },
  async (t) => {
    const stage = await setRedisStage(t);
    const store = await stage.store({ patient: true });
    const limits = new SharedLimits(store, new LocalLimits(), 'local');
    t.teardown(() => limits.close());
    const quotas = { requests: { count: 100, perMs: DAY_MS }, bytes: { count: 64_000, perMs: 200 } };
    const claim = { holder: 'h', limits: quotas, declaredBytes: 0 };
    lease(await limits.claim(claim, now()));
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.match(await limits.claim(claim, now()), { kind: 'lease', left: { requests: 98, bytes: 64_000 } });
  },
);

t.test('Redis is asked once per chunk of bytes and gets back what did not flow', { skip }, async (t) => {
  const sharing = await share(t);
  const quotas: Quotas = { bytes: { count: 20_000 * MIB, perMs: DAY_MS } };
  const before = await scriptsRun(sharing);
  for (let turn = 0; turn < 200; turn++) {
    const each = lease(await ask(sharing, quotas));
    t.equal(await each.spend(100_000, now()), undefined);
    each.release(100_000, now());
  }
  const asked = (await scriptsRun(sharing)) - before;
  // A heartbeat may be among them.
  t.ok(asked <= 3, `200 requests of 20 MB together ran few scripts: ${asked}`);
  const used = await usedBytes(sharing);
  t.ok(used >= 64 * MIB - 1000 && used <= 97 * MIB, `Redis counts a chunk or two of 64 MiB: ${used}`);
  t.ok(await until(async () => (await usedBytes(sharing)) < 20_100_000));
  t.ok(
    (await usedBytes(sharing)) > 15_000_000,
    'the bytes that flowed stay used, apart from those that have come back',
  );
});

t.test('chunks of a small budget are small, so that other gateways find the rest', { skip }, async (t) => {
  const sharing = await share(t);
  const quotas: Quotas = { bytes: { count: 6400, perMs: DAY_MS } };
  lease(await ask(sharing, quotas));
  t.ok((await usedBytes(sharing)) <= 151);
  const other = await sharing.stage.store();
  t.match(await claimOf(other, quotas, { neededBytes: 6000 }), { kind: 'grant' });
});

t.test('declared bytes are taken completely or not at all', { skip }, async (t) => {
  const sharing = await share(t);
  const quotas: Quotas = { requests: { count: 10, perMs: DAY_MS }, bytes: { count: 1000, perMs: DAY_MS } };
  const first = lease(await ask(sharing, quotas, 900));
  t.match(await ask(sharing, quotas, 200), { kind: 'refusal', backend: 'redis', limit: 'bytes' });
  first.release(0, now());
  t.match(await ask(sharing, quotas, 950), { kind: 'lease', left: { requests: 8 } });
});

t.test('a stream that has used up its budget is told, and owes what was too much', { skip }, async (t) => {
  const sharing = await share(t);
  const quotas: Quotas = { bytes: { count: 1000, perMs: DAY_MS } };
  const stream = lease(await ask(sharing, quotas));
  t.equal(await stream.spend(600, now()), undefined);
  t.match(await stream.spend(1100, now()), { kind: 'refusal', backend: 'redis', limit: 'bytes' });
  stream.release(1100, now());
  t.ok(await until(async () => (await usedBytes(sharing)) >= 1099));
});

t.test('an upload that uses up the budget gets a little more for its answer', { skip }, async (t) => {
  const sharing = await share(t);
  const quotas: Quotas = { bytes: { count: MIB, perMs: DAY_MS } };
  const upload = lease(await ask(sharing, quotas, MIB));
  t.equal(await upload.spend(MIB + 100, now()), undefined);
  t.match(await upload.spend(MIB + 2000, now()), { kind: 'refusal', backend: 'redis', limit: 'bytes' });
});

t.test('streams of one holder wait for one answer', { skip }, async (t) => {
  const sharing = await share(t);
  const quotas: Quotas = { bytes: { count: 100_000, perMs: DAY_MS } };
  const streams = [1, 2, 3].map(async () => lease(await ask(sharing, quotas)));
  const leases = await Promise.all(streams);
  for (let total = 2000; total <= 20_000; total += 2000) {
    const spent = await Promise.all(leases.map((each) => each.spend(total, now())));
    t.same(spent, [undefined, undefined, undefined]);
  }
  for (const each of leases) each.release(20_000, now());
  t.ok(
    await until(async () => Math.abs((await usedBytes(sharing)) - 60_000) < 10),
    `all bytes are counted: ${await usedBytes(sharing)}`,
  );
});

t.test('with local a gateway has its share, and running requests count in it', { skip }, async (t) => {
  const sharing = await share(t);
  const { stage, store, local } = sharing;
  await stage.store();
  t.ok(await until(() => store.state.gateways === 2));
  const quotas: Quotas = { requests: { count: 4, perMs: DAY_MS }, concurrent: 4 };
  const before = lease(await ask(sharing, quotas));
  await away(sharing);
  const alone = lease(await ask(sharing, quotas));
  t.equal(alone.backend, 'local');
  t.match(await ask(sharing, quotas), { kind: 'refusal', backend: 'local', limit: 'concurrent' });
  before.release(0, now());
  lease(await ask(sharing, quotas)).release(0, now());
  t.match(
    await ask(sharing, quotas),
    { kind: 'refusal', backend: 'local', limit: 'requests' },
    'the share is two of four',
  );
  alone.release(0, now());
  t.equal(local.taken, 0);
});

t.test('allow and deny name themselves as the source of the decision', { skip }, async (t) => {
  const sharing = await share(t, 'allow');
  const quotas: Quotas = {
    requests: { count: 1, perMs: DAY_MS },
    concurrent: 1,
    bytes: { count: 9, perMs: DAY_MS },
  };
  await away(sharing);
  for (let turn = 0; turn < 3; turn++) {
    const each = lease(await ask(sharing, quotas));
    t.match(each, { backend: 'none', left: {} });
    t.equal(each.spend(1e9, now()), undefined);
    each.release(1e9, now());
  }
  sharing.limits.onFailure = 'deny';
  t.match(await ask(sharing, quotas), { kind: 'refusal', backend: 'none', limit: 'requests', waitMs: 1000 });
  t.match(await ask(sharing, { bytes: { count: 9, perMs: DAY_MS } }), { backend: 'none', limit: 'bytes' });
});

t.test(
  'a stream that needs more bytes while Redis is away gets them as the policy says',
  { skip },
  async (t) => {
    const sharing = await share(t);
    const quotas: Quotas = { bytes: { count: 64_000, perMs: DAY_MS } };
    const stream = lease(await ask(sharing, quotas));
    t.equal(await stream.spend(1000, now()), undefined);
    await away(sharing);
    let total = 1000;
    while ((await stream.spend(total, now())) === undefined && total < 200_000) total += 1000;
    t.ok(total > 60_000 && total < 70_000, `the stream got a local budget of ${total}`);
    sharing.limits.onFailure = 'deny';
    t.match(await stream.spend(total + 1000, now()), { backend: 'none', limit: 'bytes' });
    sharing.limits.onFailure = 'allow';
    t.equal(await stream.spend(total + 2000, now()), undefined);
    stream.release(total + 2000, now());
  },
);

t.test('the shares of all gateways add up to the limit, and no share is zero', async (t) => {
  t.same(gatewayShare({ requests: { count: 100, perMs: 1000 }, concurrent: 10 }, 4), {
    requests: { count: 25, perMs: 1000 },
    concurrent: 2,
  });
  t.same(
    gatewayShare({ requests: { count: 1, perMs: 1000 }, concurrent: 1, bytes: { count: 9, perMs: 1000 } }, 3),
    {
      requests: { count: 1, perMs: 3000 },
      concurrent: 1,
      bytes: { count: 3, perMs: 1000 },
    },
  );
});
