/** WebSocket: decided like any request, switched only when both sides have said so, and over for both at once. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { acceptOf } from '../../gateway/http1/handshake.ts';
import { until } from '../lists/servers.ts';
import { exchange, HOST, rawNode, type Stage, setStage, sleep } from './stage.ts';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

const ROUTES = `  - name: feed
    match: { methods: [GET], path: '/feed/{model_id}' }
    require: { scope: read }
    upgrade: websocket
    tunnel: { idle: 600ms, lifetime: 2s }
    upstream: sync
  - name: open
    match: { methods: [GET], path: '/open/**' }
    require: none
    upstream: sync
`;

interface Yard extends Stage {
  /** The node's ends of its connections, in their order. */
  readonly nodes: readonly Socket[];
  readonly received: readonly string[];
}

const switched = (key: string, more = ''): string =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n${more}\r\n`;

/** A node that switches as it is asked to and then sends everything back, unless `answer` says otherwise. */
async function setYard(t: Test, answer?: (socket: Socket, key: string) => void): Promise<Yard> {
  const nodes: Socket[] = [];
  const node = await rawNode(t, (socket, text) => {
    const [head = '', ...rest] = text.split('\r\n\r\n');
    if (nodes.includes(socket)) {
      if (answer === undefined) socket.write(rest.join('\r\n\r\n'), 'latin1');
      return;
    }
    if (!text.includes('\r\n\r\n')) return;
    nodes.push(socket);
    const [, key = ''] = /sec-websocket-key: (\S+)/i.exec(head) ?? [];
    if (answer === undefined) socket.write(switched(key));
    else answer(socket, key);
  });
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: ROUTES,
    gateway: '  timeouts: { linger: 100ms }',
  });
  return { ...stage, nodes, received: node.received };
}

interface Handshake {
  readonly path?: string;
  readonly fields?: Readonly<Record<string, string | undefined>>;
  readonly start?: string;
}

const handshake = (token: string, { path = '/feed/vision', fields = {}, start }: Handshake = {}): string => {
  const all: Record<string, string | undefined> = {
    Host: HOST,
    Authorization: `Bearer ${token}`,
    Connection: 'keep-alive, Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': KEY,
    ...fields,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  return `${start ?? `GET ${path} HTTP/1.1`}\r\n${lines.join('')}\r\n`;
};

/** 'close' comes behind an error as well. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.on('close', () => resolve()));

interface Tunnel {
  readonly socket: TLSSocket;
  readonly head: string;
}

async function open(yard: Yard, request?: Handshake): Promise<Tunnel> {
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  const head = await exchange(socket, handshake(await yard.token(), request), (text) =>
    text.includes('\r\n\r\n'),
  );
  return { socket, head };
}

t.test('a handshake is decided, rebuilt and switched, and bytes of every kind pass both ways', async (t) => {
  const yard = await setYard(t);
  const { socket, head } = await open(yard, {
    fields: { 'Sec-WebSocket-Protocol': 'chat', 'X-Real-IP': '6.6.6.6' },
  });
  t.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
  t.match(head, /^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$/im);
  t.equal(head.match(/^upgrade: websocket\r$/gim)?.length, 1);
  t.equal(head.match(/^connection: upgrade\r$/gim)?.length, 1);
  const [request = ''] = yard.received;
  t.match(request, /^GET \/feed\/vision HTTP\/1\.1\r\n/);
  t.match(request, /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/);
  t.match(request, /\r\nSec-WebSocket-Protocol: chat\r\n/);
  t.match(request, /\r\nPatchgate-Subject: worker-1\r\n/);
  t.notMatch(request, /keep-alive|6\.6\.6\.6|Authorization/i);
  const sent = randomBytes(700).toString('latin1');
  socket.write(Buffer.from(sent, 'latin1'));
  let back = '';
  while (back.length < sent.length) back += String((await once(socket, 'data'))[0].toString('latin1'));
  t.equal(back, sent);
  socket.end();
  const [line] = await yard.log(1);
  t.match(line, {
    'http.response.status_code': 101,
    route: 'feed',
    bytes_in: 700,
    bytes_out: 700,
    ended_by: 'caller',
  });
  t.ok(await until(async () => yard.nodes[0]?.destroyed === true));
  t.ok(yard.nodes[0]?.readableEnded, 'the node sees an end, no reset');
});

t.test('what the route asks of callers it asks here too', async (t) => {
  const yard = await setYard(t);
  const socket = await yard.connect();
  const request = handshake(await yard.token({ scope: 'finetune:other' }));
  t.match(
    await exchange(socket, request, (text) => text.endsWith('}\n')),
    /^HTTP\/1\.1 403 .*insufficient-scope/s,
  );
  t.match(await exchange(socket, handshake('x.y.z'), (text) => text.endsWith('}\n')), /^HTTP\/1\.1 401 /s);
  t.equal(yard.received.length, 0);
  socket.destroy();
});

t.test('what is nearly a handshake is refused, and nothing goes upstream', async (t) => {
  const yard = await setYard(t);
  const token = await yard.token();
  const cases: [number, string, Handshake][] = [
    [426, 'no Upgrade', { fields: { Upgrade: undefined, Connection: undefined } }],
    [426, 'Upgrade without Connection', { fields: { Connection: 'keep-alive' } }],
    [426, 'another protocol', { fields: { Upgrade: 'h2c' } }],
    [426, 'two protocols', { fields: { Upgrade: 'websocket, h2c' } }],
    [426, 'another version', { fields: { 'Sec-WebSocket-Version': '8' } }],
    [426, 'two versions', { fields: { 'Sec-WebSocket-Version': '13, 8' } }],
    [426, 'no version', { fields: { 'Sec-WebSocket-Version': undefined } }],
    [400, 'no key', { fields: { 'Sec-WebSocket-Key': undefined } }],
    [400, 'a short key', { fields: { 'Sec-WebSocket-Key': 'c2hvcnQ=' } }],
    [400, 'a key of 17 bytes', { fields: { 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAAA=' } }],
    [400, 'bits behind the key', { fields: { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZR==' } }],
    [400, 'HTTP/1.0', { start: 'GET /feed/vision HTTP/1.0' }],
    [400, 'a body', { fields: { 'Content-Length': '3' } }],
    [400, 'Connection names the key', { fields: { Connection: 'upgrade, sec-websocket-key' } }],
  ];
  for (const [status, title, request] of cases) {
    const socket = await yard.connect();
    const answer = await exchange(socket, handshake(token, request), (text) => text.endsWith('}\n'));
    t.equal(Number(answer.slice(9, 12)), status, title);
    if (status === 426) t.match(answer, /\r\nUpgrade: websocket\r\n.*Sec-WebSocket-Version: 13\r\n/s, title);
    socket.destroy();
  }
  t.equal(yard.received.length, 0);
});

t.test('a route that does not say so switches nothing', async (t) => {
  const yard = await setYard(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const socket = await yard.connect();
  const answer = await exchange(
    socket,
    handshake('', { path: '/open/x', fields: { Authorization: undefined } }),
    (text) => text.endsWith('ok'),
  );
  t.match(answer, /^HTTP\/1\.1 200 OK/);
  t.notMatch(yard.received[0], /upgrade/i);
  socket.destroy();
});

t.test('a switch that was not asked for, or is for another key, is a failed node', async (t) => {
  const wrong: [string, string][] = [
    ['another accept', switched('AAAAAAAAAAAAAAAAAAAAAA==')],
    ['no accept', 'HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'],
    ['another protocol', switched(KEY).replace('websocket', 'h2c')],
    ['no Connection', switched(KEY).replace('Connection: Upgrade\r\n', '')],
    ['two accepts', switched(KEY, `Sec-WebSocket-Accept: ${acceptOf(KEY)}\r\n`)],
  ];
  let turn = 0;
  const yard = await setYard(t, (socket) => socket.write(wrong[turn]?.[1] ?? ''));
  for (const [title] of wrong) {
    const socket = await yard.connect();
    const answer = await exchange(socket, handshake(await yard.token()), (text) => text.endsWith('}\n'));
    t.match(answer, /^HTTP\/1\.1 502 .*node-failed/s, title);
    t.ok(await until(async () => yard.nodes[turn]?.destroyed === true), 'its connection is closed');
    turn += 1;
    socket.destroy();
  }
});

t.test('a node that refuses is relayed as any answer, and the connection goes on', async (t) => {
  let answer = '';
  const yard = await setYard(t, (socket) => socket.write(answer));
  const socket = await yard.connect();
  answer = 'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnever\r\n0\r\n\r\n';
  const chunked = await exchange(socket, handshake(await yard.token()), (text) => text.endsWith('0\r\n\r\n'));
  t.match(chunked, /^HTTP\/1\.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnever\r\n0\r\n\r\n$/);
  yard.nodes[0]?.end();
  await sleep(50);
  answer = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnever';
  const counted = await exchange(socket, handshake(await yard.token()), (text) => text.endsWith('never'));
  t.match(counted, /^HTTP\/1\.1 200 OK\r\nContent-Length: 5\r\n\r\nnever$/);
  socket.destroy();
});

t.test('bytes before the switch are nobody’s', async (t) => {
  const yard = await setYard(t);
  const socket = await yard.connect();
  const answer = await exchange(socket, `${handshake(await yard.token())}GET /admin HTTP/1.1\r\n`, (text) =>
    text.endsWith('}\n'),
  );
  t.match(answer, /^HTTP\/1\.1 400 .*before the switch/s);
  t.ok(await until(async () => yard.nodes[0]?.destroyed === true));
  t.notMatch(yard.received[0], /admin/);
  socket.destroy();
});

t.test('bytes that come with the switch are passed on behind it', async (t) => {
  const yard = await setYard(t, (socket, key) => socket.write(`${switched(key)}first`));
  const socket = await yard.connect();
  const answer = await exchange(socket, handshake(await yard.token()), (text) => text.endsWith('first'));
  t.match(answer, /^HTTP\/1\.1 101 .*\r\n\r\nfirst$/s);
  socket.destroy();
});

t.test('whoever ends the tunnel, it is over for both, and the log says who', async (t) => {
  const ends: [string, (caller: TLSSocket, node: Socket) => void, object][] = [
    ['the caller ends', (caller) => caller.end(), { ended_by: 'caller' }],
    ['the caller resets', (caller) => caller.destroy(), { ended_by: 'caller' }],
    ['the node ends', (_, node) => node.end(), { ended_by: 'upstream' }],
    ['the node resets', (_, node) => node.resetAndDestroy(), { ended_by: 'upstream', cause: /ECONNRESET/ }],
    ['nobody says anything', () => undefined, { ended_by: 'gateway', cause: 'the tunnel stood still' }],
  ];
  const yard = await setYard(t);
  for (const [index, [title, end, expected]] of ends.entries()) {
    const { socket } = await open(yard);
    const node = yard.nodes.at(-1);
    if (node === undefined) throw new Error('no node');
    end(socket, node);
    t.ok(await until(async () => node.destroyed && socket.destroyed), title);
    const lines = await yard.log(index + 1);
    t.match(lines.at(-1), { 'http.response.status_code': 101, ...expected }, title);
  }
});

t.test('a tunnel ends when it is old, however busy it is', async (t) => {
  const yard = await setYard(t);
  const { socket } = await open(yard);
  const began = Date.now();
  const chatter = setInterval(() => socket.write('.'), 50);
  await closed(socket);
  clearInterval(chatter);
  t.ok(Date.now() - began > 1500, 'the bytes kept it alive');
  t.match(await yard.log(1), [{ cause: 'the tunnel has reached its lifetime', ended_by: 'gateway' }]);
});

t.test('a tunnel ends with its token', async (t) => {
  const yard = await setYard(t);
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  const exp = Math.floor(Date.now() / 1000) - 29;
  await exchange(socket, handshake(await yard.token({ exp })), (text) => text.includes('\r\n\r\n'));
  const chatter = setInterval(() => socket.write('.'), 50);
  await closed(socket);
  clearInterval(chatter);
  t.match(await yard.log(1), [{ 'denial.code': 'token-expired', 'http.response.status_code': 101 }]);
});

t.test('a node that resets before it answers is a 502, and nothing else happens', async (t) => {
  const yard = await setYard(t, (socket) => socket.resetAndDestroy());
  const socket = await yard.connect();
  const answer = await exchange(socket, handshake(await yard.token()), (text) => text.endsWith('}\n'));
  t.match(answer, /^HTTP\/1\.1 502 /);
  socket.destroy();
});

t.test('a thousand aborted handshakes, at every moment and by either side, leave nothing open', async (t) => {
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
  t.ok(await until(async () => sockets() <= before), `${sockets()} sockets, ${before} before`);
  t.ok(await until(async () => (await gauge(yard, 'patchgate_open_connections{listener="edge"}')) === 0));
  t.equal(await gauge(yard, 'patchgate_streams_active{route="feed"}'), 0);
  t.ok(yard.nodes.every(({ destroyed }) => destroyed));
});

/** A handshake whose caller leaves: before its end, right behind it, a little later, or once it is switched. */
async function abort(yard: Yard, token: string, session: Buffer, index: number): Promise<void> {
  const socket = await yard.connect({ session });
  const gone = closed(socket);
  socket.on('error', () => undefined);
  socket.on('data', () => socket.destroy());
  const text = handshake(token);
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
