/** Upstreams that are gone leave nothing behind: no timer, no check, no connection, no breaker. */
import t from 'tap';
import { Deadlines } from '../../gateway/core/deadlines.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import type { Upstream } from '../../gateway/policy/upstream.ts';
import type { NodeConnection, ResponseListener } from '../../gateway/relay/node-connection.ts';
import { UpstreamPools } from '../../gateway/relay/upstream-pools.ts';
import { namedNode, until } from '../path/upstream-stage.ts';
import { sampleUpstream } from './sample-upstream.ts';

const IDLE: ResponseListener = {
  onResponse: () => undefined,
  onBody: () => undefined,
  onBodyEnd: () => undefined,
  onNodeDrain: () => undefined,
  onNodeFault: () => undefined,
};

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

/** A connection for one request, or the code of the denial. */
function acquire(pools: UpstreamPools, upstream: Upstream): Promise<NodeConnection | string> {
  return new Promise((resolve) => {
    pools.acquire(upstream, {}, { onNode: resolve, onNoNode: ({ code }) => resolve(code) });
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
  const bad = sampleUpstream(['http://127.0.0.1:1'], { name: 'bad', breaker, health });
  const changes: string[] = [];
  const pools = poolsWith([good, bad], changes);
  const connection = await acquire(pools, good);
  if (typeof connection === 'string') throw new Error(connection);
  connection.begin('GET', 'GET /open/x HTTP/1.1\r\n\r\n', false, IDLE);
  await until(() => node.requests() === 1 && connection.idle);
  t.equal(await acquire(pools, bad), 'node-unavailable');
  t.equal(await acquire(pools, bad), 'breaker-open');
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
  t.notOk(typeof (await acquire(pools, old)) === 'string');
  pools.follow([]);
  const late = await acquire(pools, old);
  if (typeof late === 'string') throw new Error(late);
  late.begin('GET', 'GET /open/x HTTP/1.1\r\n\r\n', false, IDLE);
  await until(() => node.requests() === 1 && !late.idle);
});

t.test('requests that wait are told when their upstream is gone', async (t) => {
  const upstream = sampleUpstream(['http://nodes.test:1']);
  const pools = new UpstreamPools({
    llhttp: new Llhttp(),
    deadlines: new Deadlines(0),
    tls: { find: () => undefined },
    lookup: () => new Promise(() => undefined),
    onChange: () => undefined,
  });
  pools.follow([upstream]);
  const waiting = acquire(pools, upstream);
  pools.close();
  t.equal(await waiting, 'node-unavailable');
});
