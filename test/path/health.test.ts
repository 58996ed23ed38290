/** Unhealthy nodes get no requests, whether checks or failed requests reveal them. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { rawNode, type Stage, setStage, sleep, tenantYaml } from './stage.ts';
import { askAlone, askTimes, gaugeOf, namedNode, response, until, whoAnswered } from './upstream-stage.ts';

const UP = 'patchgate_node_up';
const HEALTH =
  '    balance: roundRobin\n    health: { path: /healthz, interval: 100ms, unhealthyAfter: 2 }\n';
const is = (value: number, stage: Stage, node: Parameters<typeof gaugeOf>[2]) => () =>
  gaugeOf(stage, UP, node).then((found) => found === value);

t.test('a node whose checks fail gets no request until they succeed again', async (t) => {
  let status = 200;
  const [a, b] = [await namedNode(t, 'a', () => status), await namedNode(t, 'b')];
  const stage = await setStage(t, { nodes: [a.address, b.address], upstream: HEALTH });
  t.equal(await gaugeOf(stage, UP, a), 1, 'a node is healthy from the start');
  t.same([...new Set(await askTimes(stage, 4))].sort(), ['a', 'b']);
  status = 500;
  await until(is(0, stage, a));
  t.equal(await gaugeOf(stage, UP, b), 1);
  t.same(new Set(await askTimes(stage, 6)), new Set(['b']));
  status = 201;
  await until(is(1, stage, a));
  t.same([...new Set(await askTimes(stage, 4))].sort(), ['a', 'b']);
});

t.test('a single failed first check takes a node out', async (t) => {
  let checks = 0;
  const a = await namedNode(t, 'a', () => {
    checks += 1;
    return 503;
  });
  const health = '    health: { path: /healthz, interval: 2s, unhealthyAfter: 100 }\n';
  const stage = await setStage(t, { nodes: [a.address], upstream: health });
  await until(is(0, stage, a));
  t.equal(checks, 1);
});

t.test('if every node is down the answer is a 503 with Retry-After, and no node is asked', async (t) => {
  const a = await namedNode(t, 'a', () => 500);
  const stage = await setStage(t, { nodes: [a.address], upstream: HEALTH });
  await until(is(0, stage, a));
  const answer = await askAlone(stage);
  t.equal(whoAnswered(answer), '503 node-unavailable');
  t.match(answer, /Retry-After: [1-9]/);
  t.equal(a.requests(), 0);
  const [line] = await stage.log(1);
  t.match(line, { cause: `http://${a.address}: down` });
});

t.test('no connection, silence, garbage and a redirect are no signs of health', async (t) => {
  const gone = await rawNode(t, () => undefined);
  gone.server.close();
  const silent = await rawNode(t, () => undefined);
  const garbled = await rawNode(t, (socket) => socket.write('SSH-2.0-x\r\n\r\n'));
  const moved = await namedNode(t, 'moved', () => 302);
  const some = [gone, silent, garbled, moved];
  const stage = await setStage(t, {
    nodes: some.map(({ address }) => address),
    upstream: '    health: { path: /healthz, interval: 100ms, timeout: 100ms }\n',
  });
  for (const node of some) await until(is(0, stage, node));
  t.match(
    silent.received[0],
    /^GET \/healthz HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\nUser-Agent: patchgate\r\nConnection: close\r\n\r\n$/,
  );
  const lenient = await setStage(t, {
    nodes: [moved.address],
    upstream: '    health: { path: /healthz, interval: 100ms, expect: [200, 300-399] }\n',
  });
  await sleep(150);
  t.equal(await gaugeOf(lenient, UP, moved), 1);
});

t.test('checks use none of the connections for requests', async (t) => {
  const a = await namedNode(t, 'a');
  const stage = await setStage(t, { nodes: [a.address], upstream: `${HEALTH}    connections: { max: 1 }\n` });
  const checks = (): number => a.received.filter((text) => text.startsWith('GET /healthz ')).length;
  await until(() => checks() >= 3);
  await askTimes(stage, 3);
  await until(() => checks() >= 6);
  await askTimes(stage, 3);
  const carried = a.received.filter((text) => text.startsWith('GET /open/x '));
  t.equal(carried.length, 1, 'one connection carries all requests');
});

t.test('a node that fails in a row is ejected for a while, but never more than half', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  const stage = await setStage(t, {
    nodes: [a.address, b.address],
    upstream: '    balance: roundRobin\n    ejection: { consecutiveFailures: 2, for: 1s }\n',
  });
  a.answer = () => response('a', 500);
  b.answer = () => response('b', 500);
  const found = await askTimes(stage, 10);
  const [first = ''] = found;
  const [out, kept] = first === 'a' ? [a, b] : [b, a];
  t.equal(out.requests(), 2);
  t.equal(kept.requests(), 8);
  t.equal(await gaugeOf(stage, UP, out), 0);
  t.equal(await gaugeOf(stage, UP, kept), 1);
  kept.answer = () => response('kept');
  out.answer = () => response('out');
  await until(is(1, stage, out));
  t.ok((await askTimes(stage, 2)).includes('out'));
});

t.test('a node that joins by a reload grows to its share', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  const upstream = '    balance: roundRobin\n    slowStart: 1h\n';
  const stage = await setStage(t, { nodes: [a.address], upstream });
  t.same(
    new Set(await askTimes(stage, 2)),
    new Set(['a']),
    'at the start of a gateway no node starts slowly',
  );
  const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  await writeFile(file, tenantYaml({ nodes: [a.address, b.address], upstream }));
  t.match(await stage.gateway.reload(), { successful: true });
  const found = await askTimes(stage, 22);
  t.equal(found.filter((name) => name === 'b').length, 2, 'the new node has a tenth of its weight');
});
