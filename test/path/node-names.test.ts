/** Nodes by name: each address is a target, and names are looked up again and again. */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { setStage, sleep } from './stage.ts';
import { ask, askTimes, gaugeOf, namedNode, response, until, whoAnswered } from './upstream-stage.ts';

const portOf = (address: string): string => address.split(':')[1] ?? '';

/** The port of a node at every address of this machine; it answers with the address it was reached by. */
async function everywhere(t: Test): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write(response(socket.localAddress ?? '')));
  });
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

t.test('each address of a name gets requests, and removed ones get none', async (t) => {
  const port = await everywhere(t);
  let addresses = ['127.0.0.1', '127.0.0.2'];
  const stage = await setStage(t, {
    nodes: [`nodes.test:${port}`],
    upstream: '    balance: roundRobin\n    resolve: 1s\n',
    lookup: async (host) => {
      if (host !== 'nodes.test') throw Object.assign(new Error(host), { code: 'ENOTFOUND' });
      return addresses;
    },
  });
  t.same([...new Set(await askTimes(stage, 6))].sort(), ['127.0.0.1', '127.0.0.2']);
  addresses = ['127.0.0.3'];
  await until(async () => (await askTimes(stage, 1))[0] === '127.0.0.3');
  t.same(new Set(await askTimes(stage, 4)), new Set(['127.0.0.3']));
});

t.test('a name that was never found is unavailable, and later the last good addresses stay', async (t) => {
  const node = await namedNode(t, 'a');
  let answer: readonly string[] | undefined;
  const url = `nodes.test:${portOf(node.address)}`;
  let lookups = 0;
  const stage = await setStage(t, {
    nodes: [url],
    upstream: '    resolve: 1s\n',
    lookup: async () => {
      lookups += 1;
      if (answer === undefined) throw Object.assign(new Error('no'), { code: 'EAI_AGAIN' });
      return answer;
    },
  });
  t.same(await askTimes(stage, 1), ['503 node-unavailable']);
  t.equal(await gaugeOf(stage, 'patchgate_node_up', `http://${url}`), 0);
  const [line] = await stage.log(1);
  t.match(line, { cause: `http://${url}: unresolved` });
  answer = ['127.0.0.1'];
  await until(async () => (await gaugeOf(stage, 'patchgate_node_up', `http://${url}`)) === 1);
  t.same(await askTimes(stage, 1), ['a']);
  answer = undefined;
  const before = lookups;
  await until(() => lookups >= before + 2);
  t.same(await askTimes(stage, 1), ['a'], 'failing DNS takes no node away');
});

t.test('a request that comes during the first look-up waits for it', async (t) => {
  const node = await namedNode(t, 'a');
  let resolve: (addresses: readonly string[]) => void = () => undefined;
  const stage = await setStage(t, {
    nodes: [`nodes.test:${portOf(node.address)}`],
    upstream: '    timeouts: { connect: 20s }\n',
    lookup: () => new Promise((done) => (resolve = done)),
  });
  const socket = await stage.connect();
  const asked = ask(socket);
  await sleep(50);
  resolve(['127.0.0.1']);
  t.equal(whoAnswered(await asked), 'a');
  socket.destroy();
});

t.test('localhost is looked up as the system does', async (t) => {
  const node = await namedNode(t, 'a');
  const stage = await setStage(t, { nodes: [`localhost:${portOf(node.address)}`] });
  t.same(await askTimes(stage, 3), ['a', 'a', 'a']);
});
