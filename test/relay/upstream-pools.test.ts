/** Removed upstreams leave nothing behind: no timer, check, connection or breaker. */
import t from 'tap';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import type { Denial } from '../../gateway/core/denial.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import type { ResponseHead } from '../../gateway/http1/response.ts';
import type { Upstream } from '../../gateway/policy/upstream.ts';
import type { NodeConnection } from '../../gateway/relay/node-connection.ts';
import { UpstreamPools } from '../../gateway/relay/upstream-pools.ts';
import { rawNode } from '../path/stage.ts';
import { namedNode, until } from '../path/upstream-stage.ts';
import { sampleUpstream } from './sample-upstream.ts';
import { UNHEARD } from './unheard.ts';

function poolsWith(upstreams: readonly Upstream[], changes: string[] = []): UpstreamPools {
  const pools = new UpstreamPools({
    llhttp: new Llhttp(),
    deadlines: new Deadlines(performance.now()),
    tls: { find: () => undefined },
    lookup: async () => ['127.0.0.1'],
    onChange: ({ change }) => changes.push(change),
  });
  pools.follow(upstreams);
  return pools;
}

/** The status of the answer, or the code of the denial. */
function ask(pools: UpstreamPools, upstream: Upstream): Promise<number | string> {
  return new Promise((resolve) => {
    const onResponse = ({ status }: ResponseHead): void => resolve(status);
    pools.acquire(
      upstream,
      {},
      {
        onNode: (connection) =>
          connection.begin('GET', 'GET /open/x HTTP/1.1\r\n\r\n', false, { ...UNHEARD, onResponse }),
        onNoNode: ({ code }) => resolve(code),
      },
    );
  });
}

function resources(): readonly string[] {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout' || kind === 'TCPSocketWrap');
}

t.test('nothing is left of an upstream that is closed', async (t) => {
  const before = resources();
  const node = await namedNode(t, 'a');
  const { port } = new URL(`http://${node.address}`);
  const health = {
    path: '/healthz',
    expect: [{ first: 200, last: 299 }],
    intervalMs: 100,
    timeoutMs: 1000,
    unhealthyAfter: 3,
    healthyAfter: 2,
  };
  const breaker = {
    timeoutMs: 800,
    errorThreshold: 50,
    minimumRequests: 1,
    sleepWindowMs: 3_600_000,
    maxConcurrent: 20,
  };
  const good = sampleUpstream([`http://${node.address}`, `http://nodes.test:${port}`], { health });
  const bad = sampleUpstream(['http://127.0.0.1:1'], { name: 'bad', breaker });
  const changes: string[] = [];
  const pools = poolsWith([good, bad], changes);
  t.equal(await ask(pools, good), 200);
  t.equal(await ask(pools, bad), 'node-unavailable');
  t.equal(await ask(pools, bad), 'breaker-open');
  await until(() => node.received.some((text) => text.startsWith('GET /healthz')));
  t.ok(changes.includes('breaker open'));
  pools.close();
  t.same(pools.statuses, []);
  node.server.close();
  await until(() => resources().length <= before.length);
});

t.test('a request decided by an older policy still finds the nodes of its upstream', async (t) => {
  const node = await namedNode(t, 'a');
  const [old, next] = [sampleUpstream(['http://127.0.0.1:1']), sampleUpstream([`http://${node.address}`])];
  const pools = poolsWith([old]);
  t.teardown(() => pools.close());
  pools.follow([next]);
  t.equal(await ask(pools, old), 200);
  pools.follow([]);
  t.equal(await ask(pools, old), 200, 'this holds even if the upstream does not exist any more');
  await until(() => node.received.length === 2);
});

t.test('waiting requests are told when their upstream is gone', async (t) => {
  const upstream = sampleUpstream(['http://nodes.test:1']);
  const pools = new UpstreamPools({
    llhttp: new Llhttp(),
    deadlines: new Deadlines(0),
    tls: { find: () => undefined },
    lookup: () => new Promise(() => undefined),
    onChange: () => undefined,
  });
  pools.follow([upstream]);
  const waiting = ask(pools, upstream);
  pools.close();
  t.equal(await waiting, 'node-unavailable');
});

t.test('callers that left while waiting are skipped in a loop and not by recursion', async (t) => {
  const node = await rawNode(t, () => undefined);
  const upstream = sampleUpstream([`http://${node.address}`], { maxConnections: 1 });
  const pools = poolsWith([upstream]);
  t.teardown(() => pools.close());
  const { promise, resolve } = Promise.withResolvers<NodeConnection>();
  const onNoNode = ({ code }: Denial): void => void t.fail(code);
  pools.acquire(upstream, {}, { onNode: resolve, onNoNode });
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = Number.POSITIVE_INFINITY;
  t.teardown(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });
  const depths: number[] = [];
  const onNode = (): void => void depths.push((new Error().stack ?? '').split('\n').length);
  for (let waiting = 0; waiting < 100; waiting++) pools.acquire(upstream, {}, { onNode, onNoNode });
  t.same(depths, []);
  await promise;
  await until(() => depths.length === 100);
  t.same(new Set(depths).size, 1, `the stack is ${Math.max(...depths)} calls deep`);
});

t.test('each of several processes uses only its share of the limits of a node', async (t) => {
  const node = await rawNode(t, () => undefined);
  const breaker = { ...sampleUpstream([]).breaker, maxConcurrent: 100 };
  for (const limits of [{ maxConnections: 3 }, { breaker: { ...breaker, maxConcurrent: 4 } }]) {
    const upstream = sampleUpstream([`http://${node.address}`], { breaker, ...limits });
    const pools = new UpstreamPools({
      llhttp: new Llhttp(),
      deadlines: new Deadlines(performance.now()),
      tls: { find: () => undefined },
      lookup: async () => ['127.0.0.1'],
      processes: 2,
      onChange: () => undefined,
    });
    pools.follow([upstream]);
    const address = () => pools.statuses[0]?.nodes[0]?.addresses[0];
    void ask(pools, upstream);
    await until(() => node.received.some((text) => text.endsWith('\r\n\r\n')));
    t.equal(address()?.state, 'ready');
    void ask(pools, upstream);
    await until(() => address()?.active === 2 && address()?.state === 'busy');
    t.match(address(), { state: 'busy', active: 2 });
    pools.close();
  }
});
