/** What slow callers and slow nodes hold up is bounded for each of them and in total. */
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { until } from '../lists/servers.ts';
import { get, KIB, MIB, pump, put, ROUTES, setYard } from './slow-yard.ts';
import { rawNode, type Stage, setStage, sleep } from './stage.ts';

t.test('fifty readers that read nothing cost two buffers each', async (t) => {
  const readers = 50;
  const yard = await setYard(t, 64 * MIB, {
    routes: ROUTES,
    upstream: `    connections: { max: ${readers} }`,
  });
  const sockets = await Promise.all(Array.from({ length: readers }, () => yard.connect()));
  for (const socket of sockets) {
    socket.pause();
    socket.write(get('/open/x'));
  }
  t.ok(await until(async () => yard.nodes.length === readers));
  await sleep(1000);
  const held = await heldBytes(yard);
  t.ok(held > 0, 'some memory is held');
  t.ok(held <= readers * (256 + 64) * KIB, `each reader holds ${Math.round(held / readers / KIB)} KiB`);
  for (const socket of sockets) socket.destroy();
  t.ok(await until(async () => (await heldBytes(yard)) === 0), 'nothing is held for those who have left');
});

const CHUNK = Buffer.from(`4000\r\n${'x'.repeat(16_384)}\r\n`);
const chunkedPut = put('/open/x', 0).replace('Content-Length: 0', 'Transfer-Encoding: chunked');

for (const [framing, head, piece] of [
  ['a length', put('/open/x', 64 * MIB), undefined],
  ['chunks', chunkedPut, CHUNK],
] as const) {
  t.test(`fifty writers whose nodes read nothing cost two buffers each, with ${framing}`, async (t) => {
    const writers = 50;
    const yard = await setYard(t, undefined, { upstream: `    connections: { max: ${writers} }` });
    const sockets = await Promise.all(Array.from({ length: writers }, () => yard.connect()));
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.write(head);
      pump(socket, 64 * MIB, piece);
    }
    t.ok(await until(async () => yard.nodes.length === writers));
    await sleep(1500);
    const held = await heldBytes(yard);
    t.ok(held > 0, 'some memory is held');
    t.ok(
      held <= writers * (128 + 2 * 128) * KIB,
      `each writer holds ${Math.round(held / writers / KIB)} KiB`,
    );
    for (const socket of sockets) socket.destroy();
  });
}

t.test('a node that hangs is blamed, also if the caller waits with more to send', async (t) => {
  const yard = await setYard(t, undefined, {
    gateway: '  timeouts: { streamIdle: 500ms, linger: 100ms }',
  });
  const socket = await yard.connect();
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.write(put('/open/x', 640 * MIB));
  // Until the system takes no more from the gateway.
  while ((await heldBytes(yard)) < 128 * KIB) {
    socket.write(Buffer.alloc(256 * KIB));
    await sleep(150);
  }
  t.ok(await until(async () => answer !== ''));
  t.match(answer, /^HTTP\/1\.1 504 .*"code":"node-timeout"/s);
  socket.destroy();
});

t.test('over the bound nothing is read, and the newest streams make room for the rest', async (t) => {
  const yard = await setYard(t, undefined, {
    upstream: '    connections: { max: 64 }',
    gateway: '  limits: { bufferedBytes: 1MiB }\n  timeouts: { linger: 100ms }',
  });
  const answers = Array.from({ length: 12 }, () => '');
  const sockets: TLSSocket[] = [];
  for (let index = 0; index < answers.length; index++) sockets.push(await yard.connect());
  // All begin before the first is ended, in the order of their connections.
  for (const [index, socket] of sockets.entries()) {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      answers[index] += chunk.toString();
    });
    socket.write(put('/open/x', 64 * MIB));
    pump(socket, 64 * MIB);
  }
  t.ok(await until(async () => answers.some((answer) => answer !== '')), 'some streams were ended');
  t.ok(await until(async () => (await heldBytes(yard)) <= MIB));
  const ended = answers.map((answer) => answer !== '');
  t.equal(ended[0], false, 'the oldest stream goes on');
  t.equal(ended.lastIndexOf(false) < ended.indexOf(true), true, 'only the newest streams were ended');
  t.match(answers.at(-1), /^HTTP\/1\.1 503 .*\r\nRetry-After: 1\r\n.*"code":"overloaded"/s);
  t.match(await metrics(yard), /patchgate_buffer_pressure_total\{action="shed"\} [1-9]/);
  for (const node of yard.nodes) node.resume();
  t.ok(
    await until(async () => (sockets[0]?.bytesWritten ?? 0) > 64 * MIB),
    'the oldest stream comes through once there is room',
  );
  for (const socket of sockets) socket.destroy();
});

t.test('time in which nothing is read over the bound makes no stream too slow or idle', async (t) => {
  const yard = await setYard(t, undefined, {
    upstream: '    connections: { max: 64 }',
    gateway: '  limits: { bufferedBytes: 256KiB }\n  timeouts: { streamIdle: 300ms, linger: 100ms }',
  });
  const sockets = await Promise.all(Array.from({ length: 4 }, () => yard.connect()));
  for (const socket of sockets) {
    socket.on('error', () => undefined);
    socket.write(put('/paced/x', 64 * MIB));
    pump(socket, 64 * MIB);
  }
  const lines = await yard.log(3);
  for (const line of lines.slice(0, 3)) t.match(line, { 'denial.code': 'overloaded' });
  for (const socket of sockets) socket.destroy();
});

t.test('a caller that asks for more and more but reads nothing is not answered any further', async (t) => {
  const size = 48 * KIB;
  let asked = 0;
  const node = await rawNode(t, (socket, text) => {
    if (!text.endsWith('\r\n\r\n')) return;
    asked += 1;
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`);
  });
  const yard = await setStage(t, { nodes: [node.address], routes: ROUTES });
  const socket = await yard.connect();
  socket.pause();
  socket.on('error', () => undefined);
  for (let turn = 0; turn < 1000; turn++) socket.write(get('/open/x'));
  for (let before = -1; before !== asked; await sleep(500)) before = asked;
  t.ok(asked < 600, `only ${asked} of 1000 requests were passed on`);
  t.ok((await heldBytes(yard)) < 400 * KIB, `only ${await heldBytes(yard)} bytes are held`);
  socket.resume();
  t.ok(await until(async () => asked === 1000), 'the rest is answered when the caller reads');
  socket.destroy();
});

async function metrics(yard: Stage): Promise<string> {
  return (await fetch(`${yard.admin}/metrics`)).text();
}

async function heldBytes(yard: Stage): Promise<number> {
  return Number(/^patchgate_buffered_bytes (\d+)$/m.exec(await metrics(yard))?.[1] ?? Number.NaN);
}
