/** Slow callers, slow nodes: a rate is asked of whoever is waited for, and what they hold up is bounded. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { until } from '../lists/servers.ts';
import { exchange, HOST, rawNode, type Stage, type StageOptions, setStage, sleep } from './stage.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const ROUTES = `  - name: paced
    match: { methods: [GET, PUT], path: '/paced/**' }
    require: none
    stream: { minRate: 100KiB/s, minRateGrace: 500ms }
    upstream: sync
  - name: open
    match: { methods: [GET, PUT], path: '/open/**' }
    require: none
    upstream: sync
`;

interface Yard extends Stage {
  readonly nodes: readonly Socket[];
}

/** A node that begins an answer of `answerBytes`, or reads nothing of what is sent to it. */
async function setYard(
  t: Test,
  answerBytes: number | undefined,
  more: Partial<StageOptions> = {},
): Promise<Yard> {
  const nodes: Socket[] = [];
  const node = await rawNode(t, (socket) => {
    if (nodes.includes(socket)) return;
    nodes.push(socket);
    if (answerBytes === undefined) {
      socket.pause();
      return;
    }
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answerBytes}\r\n\r\n`);
    pump(socket, answerBytes);
  });
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: ROUTES,
    gateway: '  timeouts: { linger: 100ms }',
    ...more,
  });
  return { ...stage, nodes };
}

/** A node that takes everything and says nothing. */
const silent = (t: Test, more: Partial<StageOptions> = {}): Promise<Yard> =>
  rawNode(t, () => undefined).then(async ({ address }) => ({
    ...(await setStage(t, {
      nodes: [address],
      routes: ROUTES,
      gateway: '  timeouts: { linger: 100ms }',
      ...more,
    })),
    nodes: [],
  }));

const put = (path: string, length: number): string =>
  `PUT ${path} HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${length}\r\n\r\n`;
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

const PIECE = Buffer.alloc(64 * KIB);

/** Sends so much as fast as it is taken. */
function pump(socket: Socket, bytes: number): void {
  let left = bytes;
  const send = (): void => {
    while (left > 0 && !socket.destroyed) {
      left -= PIECE.length;
      if (!socket.write(PIECE)) return;
    }
  };
  socket.on('drain', send);
  send();
}

/** Sends so much each 50 ms until the socket closes. */
function trickle(socket: TLSSocket, bytes: number): void {
  const piece = Buffer.alloc(bytes);
  const timer = setInterval(() => socket.write(piece), 50);
  socket.on('close', () => clearInterval(timer));
}

t.test('a body that comes too slowly is refused, in both framings', async (t) => {
  const yard = await silent(t);
  for (const head of [
    put('/paced/x', 10 * MIB),
    `${put('/paced/x', 0).replace('Content-Length: 0', 'Transfer-Encoding: chunked')}fffff\r\n`,
  ]) {
    const socket = await yard.connect();
    const answer = exchange(socket, head);
    trickle(socket, KIB);
    t.match(await answer, /^HTTP\/1\.1 408 .*"code":"too-slow"/s);
  }
  const [line] = await yard.log(2);
  t.match(line, { 'denial.code': 'too-slow', 'denial.rule': 'stream.minRate', ended_by: 'gateway' });
});

t.test('one that comes fast enough goes on, and so does any on a route that asks for no rate', async (t) => {
  const yard = await silent(t);
  const [quick, slow] = [await yard.connect(), await yard.connect()];
  let ended = 0;
  for (const socket of [quick, slow]) {
    socket.on('error', () => undefined);
    socket.on('data', () => {
      ended += 1;
    });
  }
  quick.write(put('/paced/x', 100 * MIB));
  trickle(quick, 16 * KIB);
  slow.write(put('/open/x', 100 * MIB));
  trickle(slow, 10);
  await sleep(2500);
  t.equal(ended, 0);
  quick.destroy();
  slow.destroy();
});

t.test('a caller that is held back by its node is not the slow one', async (t) => {
  const yard = await setYard(t, undefined);
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  let answered = false;
  socket.on('data', () => {
    answered = true;
  });
  socket.write(put('/paced/x', 64 * MIB));
  pump(socket, 64 * MIB);
  await sleep(2500);
  t.notOk(answered, 'four times the grace');
  t.ok(socket.bytesWritten < 60 * MIB, 'it would have sent more');
  yard.nodes[0]?.resume();
  t.ok(await until(async () => socket.bytesWritten > 64 * MIB && socket.writableLength === 0));
  socket.destroy();
});

t.test('a caller that takes its answer too slowly is broken off', async (t) => {
  const yard = await setYard(t, 64 * MIB);
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(get('/paced/x'));
  const [line] = await yard.log(1);
  t.match(line, {
    'http.response.status_code': 200,
    'denial.code': 'too-slow',
    cause: 'The answer is taken too slowly.',
    ended_by: 'gateway',
  });
  t.ok(await until(async () => yard.nodes[0]?.destroyed === true), 'the node is let go');
  socket.destroy();
});

t.test('an answer that comes slowly from its node is nobody else’s fault', async (t) => {
  const nodes: Socket[] = [];
  const node = await rawNode(t, (socket) => {
    nodes.push(socket);
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun');
  });
  const yard = await setStage(t, { nodes: [node.address], routes: ROUTES });
  const socket = await yard.connect();
  let closed = false;
  socket.on('close', () => {
    closed = true;
  });
  socket.resume();
  socket.write(get('/paced/x'));
  await sleep(2000);
  t.notOk(closed);
  socket.destroy();
});

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
  t.ok(held > 0, 'something is held');
  t.ok(held <= readers * (256 + 64) * KIB, `${Math.round(held / readers / KIB)} KiB each`);
  for (const socket of sockets) socket.destroy();
  t.ok(await until(async () => (await heldBytes(yard)) === 0), 'nothing is held of who has gone');
});

t.test('fifty writers whose nodes read nothing cost two buffers each', async (t) => {
  const writers = 50;
  const yard = await setYard(t, undefined, { upstream: `    connections: { max: ${writers} }` });
  const sockets = await Promise.all(Array.from({ length: writers }, () => yard.connect()));
  for (const socket of sockets) {
    socket.on('error', () => undefined);
    socket.write(put('/open/x', 64 * MIB));
    pump(socket, 64 * MIB);
  }
  t.ok(await until(async () => yard.nodes.length === writers));
  await sleep(1500);
  const held = await heldBytes(yard);
  t.ok(held > 0, 'something is held');
  t.ok(held <= writers * (1024 + 256) * KIB, `${Math.round(held / writers / KIB)} KiB each`);
  for (const socket of sockets) socket.destroy();
});

t.test('over the bound nothing is read, and the newest streams make room for the rest', async (t) => {
  const yard = await setYard(t, undefined, {
    upstream: '    connections: { max: 64 }',
    gateway: '  limits: { bufferedBytes: 4MiB }\n  timeouts: { linger: 100ms }',
  });
  const answers: string[] = [];
  const sockets: TLSSocket[] = [];
  for (let index = 0; index < 12; index++) {
    const socket = await yard.connect();
    sockets.push(socket);
    answers.push('');
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      answers[index] += chunk.toString();
    });
    socket.write(put('/open/x', 64 * MIB));
    pump(socket, 64 * MIB);
    await sleep(60);
  }
  t.ok(await until(async () => answers.some((answer) => answer !== '')), 'some were ended');
  t.ok(await until(async () => (await heldBytes(yard)) <= 4 * MIB));
  const ended = answers.map((answer) => answer !== '');
  t.equal(ended[0], false, 'the oldest goes on');
  t.equal(ended.lastIndexOf(false) < ended.indexOf(true), true, 'the newest were ended, and no other');
  t.match(answers.at(-1), /^HTTP\/1\.1 503 .*\r\nRetry-After: 1\r\n.*"code":"overloaded"/s);
  t.match(await metrics(yard), /patchgate_buffer_pressure_total\{action="shed"\} [1-9]/);
  for (const node of yard.nodes) node.resume();
  t.ok(
    await until(async () => (sockets[0]?.bytesWritten ?? 0) > 64 * MIB),
    'and comes through when there is room',
  );
  for (const socket of sockets) socket.destroy();
});

t.test(
  'over the bound, time that nothing is read is nobody’s: no stream is too slow or idle for it',
  async (t) => {
    const yard = await setYard(t, undefined, {
      upstream: '    connections: { max: 64 }',
      gateway: '  limits: { bufferedBytes: 1MiB }\n  timeouts: { streamIdle: 300ms, linger: 100ms }',
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
  },
);

t.test('who asks for more and more and reads nothing is not answered any further', async (t) => {
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
  t.ok(asked < 600, `${asked} of 1000 were asked`);
  t.ok((await heldBytes(yard)) < 400 * KIB, `${await heldBytes(yard)} bytes are held`);
  socket.resume();
  t.ok(await until(async () => asked === 1000), 'and goes on when it reads');
  socket.destroy();
});

async function metrics(yard: Stage): Promise<string> {
  return (await fetch(`${yard.admin}/metrics`)).text();
}

async function heldBytes(yard: Stage): Promise<number> {
  return Number(/^patchgate_buffered_bytes (\d+)$/m.exec(await metrics(yard))?.[1] ?? Number.NaN);
}
