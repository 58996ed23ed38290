/** A drained node gets no new requests, and those running on it end by themselves. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { exchange, HOST, isWhole, type Stage, setStage, tenantYaml } from './stage.ts';
import { ask, askTimes, namedNode, response, until, whoAnswered } from './upstream-stage.ts';

async function nodePage(stage: Stage, action: 'drain' | 'resume', address: string): Promise<number> {
  const query = new URLSearchParams({ upstream: 'tenant-a/sync', node: `http://${address}` });
  const answer = await fetch(`${stage.admin}/nodes/${action}?${query}`, { method: 'POST' });
  return answer.status;
}

/** The state of each node, in the order of the policy. */
async function states(stage: Stage): Promise<readonly string[]> {
  const [upstream] = (await (await fetch(`${stage.admin}/nodes`)).json()) as { nodes: { state: string }[] }[];
  return upstream?.nodes.map(({ state }) => state) ?? [];
}

t.test('a drained node gets no new request, and its running streams end well', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  let finish: (() => void) | undefined;
  a.answer = (socket) => {
    finish = () => socket.write(response('a'));
    return undefined;
  };
  const stage = await setStage(t, { nodes: [a.address, b.address], upstream: '    balance: roundRobin\n' });
  t.same(await states(stage), ['ready', 'ready']);
  const socket = await stage.connect();
  const running = ask(socket);
  await until(() => a.requests() === 1);
  t.equal(await nodePage(stage, 'drain', a.address), 200);
  t.same(await states(stage), ['drained', 'ready']);
  t.same(new Set(await askTimes(stage, 6)), new Set(['b']));
  finish?.();
  t.equal(whoAnswered(await running), 'a');
  a.answer = () => response('a');
  t.equal(whoAnswered(await ask(socket)), 'b', 'nor does it get one on the kept connection');
  socket.destroy();
  t.equal(await nodePage(stage, 'resume', a.address), 200);
  t.same(await states(stage), ['ready', 'ready']);
  t.ok((await askTimes(stage, 2)).includes('a'));
});

t.test('a node stays drained as long as it is in the policy', async (t) => {
  const [a, b] = [await namedNode(t, 'a'), await namedNode(t, 'b')];
  const stage = await setStage(t, { nodes: [a.address, b.address] });
  const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  const write = async (nodes: readonly string[], upstream = ''): Promise<void> => {
    await writeFile(file, tenantYaml({ nodes, upstream }));
    t.match(await stage.gateway.reload(), { successful: true });
  };
  await nodePage(stage, 'drain', a.address);
  await write([b.address, a.address], '    timeouts: { connect: 1s }\n');
  t.same(await states(stage), ['ready', 'drained'], 'a node stays drained under other settings as well');
  await write([b.address]);
  await write([a.address, b.address]);
  t.same(await states(stage), ['ready', 'ready']);
});

t.test('if all nodes are drained the answer is a 503', async (t) => {
  const a = await namedNode(t, 'a');
  const stage = await setStage(t, { nodes: [a.address] });
  await nodePage(stage, 'drain', a.address);
  t.same(await askTimes(stage, 1), ['503 node-unavailable']);
  t.equal(await nodePage(stage, 'drain', '127.0.0.1:1'), 404);
});

t.test('the page of nodes shows the state of each node and of its addresses', async (t) => {
  const a = await namedNode(t, 'a');
  const stage = await setStage(t, { nodes: [a.address] });
  await askTimes(stage, 1);
  t.same(await (await fetch(`${stage.admin}/nodes`)).json(), [
    {
      upstream: 'tenant-a/sync',
      balance: 'leastRequests',
      nodes: [
        {
          node: `http://${a.address}`,
          weight: 1,
          state: 'ready',
          drained: false,
          addresses: [{ address: '127.0.0.1', state: 'ready', breaker: 'closed', active: 0 }],
        },
      ],
    },
  ]);
});

t.test('a body whose node is drained midway arrives completely', async (t) => {
  const a = await namedNode(t, 'a');
  const stage = await setStage(t, { nodes: [a.address] });
  const socket = await stage.connect();
  socket.write(`PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 10\r\n\r\nfirst `);
  await until(() => a.received[0]?.endsWith('first ') === true);
  await nodePage(stage, 'drain', a.address);
  t.equal(whoAnswered(await exchange(socket, '\r\n\r\n', isWhole)), 'a');
  socket.destroy();
  t.match(await stage.log(1), [{ bytes_in: 10, 'http.response.status_code': 200 }]);
});
