/** Where limits are counted follows the policy, and no message about it contains the password. */
import t, { type Test } from 'tap';
import type { LimitLease, LimitRefusal } from '../../gateway/limits/limits-backend.ts';
import { LiveLimits } from '../../gateway/limits/live-limits.ts';
import { createLog } from '../../gateway/observe/log.ts';
import { createMetrics } from '../../gateway/observe/metrics.ts';
import type { SharedState } from '../../gateway/policy/gateway-settings.ts';
import { skipWithout, until } from '../lists/servers.ts';
import { DAY_MS, PREFIX, setRedisStage } from './redis-stage.ts';

const skip = skipWithout('redis-server', 'redis-server');
const LIMITS = { requests: { count: 2, perMs: DAY_MS } };

function liveLimits(t: Test): { readonly limits: LiveLimits; readonly lines: string[] } {
  const lines: string[] = [];
  const limits = new LiveLimits(createLog('info', { write: (line) => void lines.push(line) }));
  t.teardown(() => limits.close());
  return { limits, lines };
}

async function ask(limits: LiveLimits): Promise<LimitLease | LimitRefusal> {
  return limits.claim({ holder: 'h', limits: LIMITS, declaredBytes: 0 }, performance.now());
}

async function scrape(limits: LiveLimits): Promise<string> {
  const metrics = createMetrics({ version: 'x' });
  limits.observe(metrics);
  return (await metrics.text()).body;
}

t.test(
  'limits are shared by Redis and prefix as the policy says, or counted locally',
  { skip },
  async (t) => {
    const { redis } = await setRedisStage(t);
    const { limits } = liveLimits(t);
    const state: SharedState = {
      redis: `redis://127.0.0.1:${redis.port}`,
      prefix: PREFIX,
      onFailure: 'local',
    };
    t.match(await ask(limits), { kind: 'lease', backend: 'local' });
    t.notMatch(await scrape(limits), /^patchgate_limit_store_up\{/m);
    await limits.follow(state);
    t.match(await ask(limits), { kind: 'lease', backend: 'redis', left: { requests: 1 } });
    await limits.follow({ ...state });
    t.match(await ask(limits), { kind: 'lease', backend: 'redis', left: { requests: 0 } });
    t.match(await scrape(limits), /^patchgate_limit_store_up\{store="redis"\} 1$/m);
    t.match(await scrape(limits), /^patchgate_limit_store_gateways\{store="redis"\} 1$/m);
    t.match(await scrape(limits), /^patchgate_limit_store_failures_total\{reason="timeout"\} 0$/m);
    await limits.follow({ ...state, prefix: 'other:' });
    t.match(await ask(limits), { kind: 'lease', backend: 'redis', left: { requests: 1 } });
    await limits.follow(undefined);
    t.match(await ask(limits), { kind: 'lease', backend: 'local', left: { requests: 0 } });
  },
);

t.test(
  'onFailure follows the policy too, and a failure is logged once without the password',
  { skip },
  async (t) => {
    const { redis, client } = await setRedisStage(t);
    const { limits, lines } = liveLimits(t);
    await client.config('SET', 'requirepass', 'wr0ng-secret');
    await client.auth('wr0ng-secret');
    const url = `redis://:wr0ng-secret@127.0.0.1:${redis.port}`;
    const state: SharedState = { redis: url, prefix: PREFIX, onFailure: 'deny' };
    await limits.follow(state);
    t.match(await ask(limits), { backend: 'redis' });
    await client.config('SET', 'requirepass', 'changed');
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    t.ok(await until(async () => (await ask(limits)).backend === 'none'));
    await limits.follow({ ...state, onFailure: 'local' });
    t.match(await ask(limits), { backend: 'local' });
    await new Promise((resolve) => setTimeout(resolve, 2500));
    t.equal(lines.length, 1, 'failed trials are not logged');
    t.match(lines[0], /"onFailure":"deny","message":"limits are not shared: Redis is unavailable"/);
    t.notMatch(lines.join(''), 'secret');
    await client.config('SET', 'requirepass', 'wr0ng-secret');
    t.ok(await until(() => lines.length === 2));
    t.match(lines[1], '"message":"limits are shared again"');
  },
);

t.test('of policies that follow each other quickly the last one applies', { skip }, async (t) => {
  const { redis, client } = await setRedisStage(t);
  const { limits } = liveLimits(t);
  const state: SharedState = { redis: `redis://127.0.0.1:${redis.port}`, prefix: 'a:', onFailure: 'local' };
  await Promise.all([
    limits.follow(state),
    limits.follow({ ...state, prefix: 'b:' }),
    limits.follow(undefined),
    limits.follow({ ...state, prefix: 'c:' }),
    limits.follow({ ...state, prefix: 'c:', onFailure: 'deny' }),
  ]);
  t.match(await ask(limits), { backend: 'redis' });
  t.ok(await until(async () => (await client.keys('*gateways')).join() === 'c:gateways'));
});

t.test('once they are closed, no policy opens a Redis again', async (t) => {
  const { limits, lines } = liveLimits(t);
  // Nothing answers there, which would be told.
  const state: SharedState = { redis: 'redis://127.0.0.1:1', prefix: PREFIX, onFailure: 'deny' };
  const under = limits.follow(state);
  limits.close();
  await under;
  await limits.follow(state);
  t.match(await ask(limits), { kind: 'lease', backend: 'local' });
  t.same(lines, []);
});
