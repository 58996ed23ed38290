/** Connections to nodes are shared by requests, waited for, and replaced when they have gone stale. */
import t from 'tap';
import { exchange, HOST, isWhole, rawNode, type Stage, setStage, sleep } from './stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
const get = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const ended = (text: string): boolean => text.endsWith('\r\n\r\n') || text.endsWith('}\n');

/** The statuses of that many simultaneous requests, each from its own caller. */
async function statuses(stage: Stage, count: number): Promise<readonly string[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = await stage.connect();
      const answer = await exchange(socket, get, ended);
      socket.destroy();
      return answer.slice(9, 12);
    }),
  );
}

t.test('requests beyond the connections a node may have wait for one of them', async (t) => {
  const node = await rawNode(t, (socket) => void setTimeout(() => socket.write(OK), 10));
  const stage = await setStage(t, { nodes: [node.address], upstream: '    connections: { max: 2 }' });
  t.same(new Set(await statuses(stage, 20)), new Set(['200']));
  t.ok(node.received.length <= 2, `there were ${node.received.length} connections`);
});

t.test('a request that waits in vain is refused after the time to connect', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, {
    nodes: [node.address],
    upstream: '    connections: { max: 1 }\n    timeouts: { connect: 200ms, firstByte: 1s }',
  });
  const all = await statuses(stage, 4);
  t.same([...all].sort(), ['503', '503', '503', '504'], 'one request was sent, and three waited');
  const lines = await stage.log(4);
  t.same(lines.filter((line) => line['denial.code'] === 'node-unavailable').length, 3);
});

t.test('a node connection closed while idle is replaced without the caller noticing', async (t) => {
  const sockets: { end(): void }[] = [];
  const node = await rawNode(t, (socket) => {
    sockets.push(socket);
    socket.write(OK);
  });
  const stage = await setStage(t, { nodes: [node.address] });
  const socket = await stage.connect();
  for (let turn = 0; turn < 5; turn++) {
    t.match(await exchange(socket, get, ended), /^HTTP\/1\.1 200 /);
    sockets.at(-1)?.end();
    await sleep(turn * 3);
  }
  socket.destroy();
});

t.test('bytes behind a response never answer the next request', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(`${OK}HTTP/1.1 200 OK\r\nX-Evil: yes\r\n\r\n`));
  const stage = await setStage(t, { nodes: [node.address] });
  const socket = await stage.connect();
  for (let turn = 0; turn < 3; turn++) {
    const answer = await exchange(socket, get, isWhole);
    t.match(answer, /^HTTP\/1\.1 502 /, 'nobody can say which of the two was meant');
    t.notMatch(answer, /X-Evil/);
  }
  t.equal(node.received.length, 3, 'each request has its own connection');
  socket.destroy();
});

t.test('a node may send a limited number of interim responses', async (t) => {
  const interim = 'HTTP/1.1 102 Processing\r\n\r\n';
  const node = await rawNode(t, (socket, text) =>
    socket.write(
      text.lastIndexOf('/few ') > text.lastIndexOf('/x ') ? interim.repeat(32) + OK : interim.repeat(33),
    ),
  );
  const stage = await setStage(t, { nodes: [node.address] });
  const socket = await stage.connect();
  t.match(await exchange(socket, get.replace('/x ', '/few '), ended), /^HTTP\/1\.1 200 /);
  t.match(await exchange(socket, get, ended), /^HTTP\/1\.1 502 /);
  t.match(await stage.log(2), [{}, { cause: /too many interim responses/ }]);
  socket.destroy();
});

t.test('two nodes share the requests, and if one is gone the other takes them', async (t) => {
  const answer = (name: string) => `HTTP/1.1 200 OK\r\nX-Node: ${name}\r\nContent-Length: 0\r\n\r\n`;
  const [a, b] = [
    await rawNode(t, (socket) => socket.write(answer('a'))),
    await rawNode(t, (socket) => socket.write(answer('b'))),
  ];
  const stage = await setStage(t, { nodes: [a.address, b.address], upstream: '    balance: roundRobin' });
  const socket = await stage.connect();
  const ask = async (): Promise<string> =>
    (await exchange(socket, get, ended)).match(/X-Node: (.)/)?.[1] ?? '';
  const first = [await ask(), await ask(), await ask(), await ask()];
  t.same([...first].sort(), ['a', 'a', 'b', 'b']);
  t.not(first[0], first[1]);
  socket.destroy();
  const alone = await setStage(t, { nodes: ['127.0.0.1:1', b.address], upstream: '    balance: roundRobin' });
  t.same(new Set(await statuses(alone, 6)), new Set(['200']));
});
