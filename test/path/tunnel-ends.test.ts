/** A WebSocket tunnel ends for both sides at once, whoever ends it and when, and leaves nothing open. */

import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { until } from '../lists/servers.ts';
import { exchange, type Stage } from './stage.ts';
import { open, setYard, switched, upgradeRequest, type Yard } from './tunnel-yard.ts';

/** 'close' follows an error as well. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.on('close', () => resolve()));

t.test('a tunnel ends for both sides whoever ends it, and the log says who', async (t) => {
  const ends: [string, (caller: TLSSocket, node: Socket) => void, object][] = [
    ['the caller ends', (caller) => caller.end(), { ended_by: 'caller' }],
    ['the caller resets', (caller) => caller.destroy(), { ended_by: 'caller' }],
    ['the node ends', (_, node) => node.end(), { ended_by: 'upstream' }],
    ['the node resets', (_, node) => node.resetAndDestroy(), { ended_by: 'upstream', cause: /ECONNRESET/ }],
    [
      'nobody says anything',
      () => undefined,
      { ended_by: 'gateway', cause: 'the tunnel was idle for too long' },
    ],
  ];
  const yard = await setYard(t);
  for (const [index, [title, end, expected]] of ends.entries()) {
    const { socket } = await open(yard);
    const node = yard.nodes.at(-1);
    if (node === undefined) throw new Error('no node');
    end(socket, node);
    t.ok(await until(async () => node.destroyed && socket.destroyed), `both sides are closed if ${title}`);
    const lines = await yard.log(index + 1);
    t.match(lines.at(-1), { 'http.response.status_code': 101, ...expected }, `the log is right if ${title}`);
  }
});

t.test('a tunnel ends at its lifetime, however busy it is', async (t) => {
  const yard = await setYard(t);
  const { socket } = await open(yard);
  const began = Date.now();
  const chatter = setInterval(() => socket.write('.'), 50);
  await closed(socket);
  clearInterval(chatter);
  t.ok(Date.now() - began > 1500, 'the bytes kept it alive');
  t.match(await yard.log(1), [{ cause: 'the tunnel has reached its maximum lifetime', ended_by: 'gateway' }]);
});

t.test('a tunnel ends with its token', async (t) => {
  const yard = await setYard(t);
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  const exp = Math.floor(Date.now() / 1000) - 29;
  await exchange(socket, upgradeRequest(await yard.token({ exp })), (text) => text.includes('\r\n\r\n'));
  const chatter = setInterval(() => socket.write('.'), 50);
  await closed(socket);
  clearInterval(chatter);
  t.match(await yard.log(1), [{ 'denial.code': 'token-expired', 'http.response.status_code': 101 }]);
});

t.test('a thousand aborted handshakes at any moment and by either side leave nothing open', async (t) => {
  const yard = await setYard(t, (socket, key) => {
    const turn = yard.nodes.length % 4;
    if (turn === 0) socket.resetAndDestroy();
    if (turn >= 2) socket.write(switched(key));
    if (turn === 3) setImmediate(() => socket.destroy());
  });
  const token = await yard.token();
  const session = await sessionOf(yard);
  const before = sockets();
  for (let batch = 0; batch < 50; batch++) {
    await Promise.all(Array.from({ length: 20 }, (_, index) => abort(yard, token, session, index)));
  }
  t.ok(
    await until(async () => sockets() <= before),
    `there are ${sockets()} sockets, and there were ${before}`,
  );
  t.ok(await until(async () => (await gauge(yard, 'patchgate_open_connections{listener="edge"}')) === 0));
  t.equal(await gauge(yard, 'patchgate_streams_active{route="feed"}'), 0);
  t.ok(yard.nodes.every(({ destroyed }) => destroyed));
});

/** A handshake whose caller leaves before its end, right behind it, a little later, or once it is switched. */
async function abort(yard: Yard, token: string, session: Buffer, index: number): Promise<void> {
  const socket = await yard.connect({ session });
  const gone = closed(socket);
  socket.on('error', () => undefined);
  socket.on('data', () => socket.destroy());
  const text = upgradeRequest(token);
  socket.write(index % 4 === 0 ? text.slice(0, -2) : text);
  if (index % 4 < 2) setImmediate(() => socket.destroy());
  else setTimeout(() => socket.destroy(), index);
  await gone;
}

async function sessionOf(yard: Yard): Promise<Buffer> {
  const socket = await yard.connect();
  const [session] = await once(socket, 'session');
  socket.destroy();
  await once(socket, 'close');
  return session as Buffer;
}

function sockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name.startsWith('TCPSocket') || name === 'TLSWrap')
    .length;
}

async function gauge(yard: Stage, name: string): Promise<number> {
  const text = await (await fetch(`${yard.admin}/metrics`, { headers: { connection: 'close' } })).text();
  const line = text.split('\n').find((each) => each.startsWith(name));
  return Number(line?.split(' ').at(-1) ?? 0);
}
