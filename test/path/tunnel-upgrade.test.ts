/** WebSocket handshakes are decided like any request, and switch only when both sides agree. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import t from 'tap';
import { acceptOf } from '../../gateway/http1/websocket.ts';
import { until } from '../lists/servers.ts';
import { exchange, sleep } from './stage.ts';
import { KEY, open, setYard, switched, type UpgradeRequest, upgradeRequest } from './tunnel-yard.ts';

t.test('a handshake is decided, rebuilt and switched, and any bytes pass in both directions', async (t) => {
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
  t.ok(yard.nodes[0]?.readableEnded, 'the node sees an end and no reset');
});

t.test('a tunnel requires of its callers what the route says', async (t) => {
  const yard = await setYard(t);
  const socket = await yard.connect();
  const request = upgradeRequest(await yard.token({ scope: 'finetune:other' }));
  t.match(
    await exchange(socket, request, (text) => text.endsWith('}\n')),
    /^HTTP\/1\.1 403 .*insufficient-scope/s,
  );
  t.match(
    await exchange(socket, upgradeRequest('x.y.z'), (text) => text.endsWith('}\n')),
    /^HTTP\/1\.1 401 /s,
  );
  t.equal(yard.received.length, 0);
  socket.destroy();
});

t.test('a request that is nearly a handshake is refused, and nothing goes upstream', async (t) => {
  const yard = await setYard(t);
  const token = await yard.token();
  const cases: [number, string, UpgradeRequest][] = [
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
    const answer = await exchange(socket, upgradeRequest(token, request), (text) => text.endsWith('}\n'));
    t.equal(Number(answer.slice(9, 12)), status, title);
    if (status === 426) t.match(answer, /\r\nUpgrade: websocket\r\n.*Sec-WebSocket-Version: 13\r\n/s, title);
    socket.destroy();
  }
  t.equal(yard.received.length, 0);
});

t.test('a route without upgrade switches nothing', async (t) => {
  const yard = await setYard(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const socket = await yard.connect();
  const answer = await exchange(
    socket,
    upgradeRequest('', { path: '/open/x', fields: { Authorization: undefined } }),
    (text) => text.endsWith('ok'),
  );
  t.match(answer, /^HTTP\/1\.1 200 OK/);
  t.notMatch(yard.received[0], /upgrade/i);
  socket.destroy();
});

t.test('a switch that was not requested, or is for another key, counts as a failed node', async (t) => {
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
    const answer = await exchange(socket, upgradeRequest(await yard.token()), (text) => text.endsWith('}\n'));
    t.match(answer, /^HTTP\/1\.1 502 .*node-failed/s, title);
    t.ok(await until(async () => yard.nodes[turn]?.destroyed === true), 'its connection is closed');
    turn += 1;
    socket.destroy();
  }
});

t.test('the refusal of a node is relayed as any answer, and the connection goes on', async (t) => {
  let answer = '';
  const yard = await setYard(t, (socket) => socket.write(answer));
  const socket = await yard.connect();
  answer = 'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnever\r\n0\r\n\r\n';
  const chunked = await exchange(socket, upgradeRequest(await yard.token()), (text) =>
    text.endsWith('0\r\n\r\n'),
  );
  t.match(chunked, /^HTTP\/1\.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnever\r\n0\r\n\r\n$/);
  yard.nodes[0]?.end();
  await sleep(50);
  answer = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnever';
  const counted = await exchange(socket, upgradeRequest(await yard.token()), (text) =>
    text.endsWith('never'),
  );
  t.match(counted, /^HTTP\/1\.1 200 OK\r\nContent-Length: 5\r\n\r\nnever$/);
  socket.destroy();
});

t.test('bytes sent before the switch go nowhere', async (t) => {
  const yard = await setYard(t);
  const socket = await yard.connect();
  const answer = await exchange(
    socket,
    `${upgradeRequest(await yard.token())}GET /admin HTTP/1.1\r\n`,
    (text) => text.endsWith('}\n'),
  );
  t.match(answer, /^HTTP\/1\.1 400 .*before the protocol switch/s);
  t.ok(await until(async () => yard.nodes[0]?.destroyed === true));
  t.notMatch(yard.received[0], /admin/);
  socket.destroy();
});

t.test('bytes that come with the switch are passed on behind it', async (t) => {
  const yard = await setYard(t, (socket, key) => socket.write(`${switched(key)}first`));
  const socket = await yard.connect();
  const answer = await exchange(socket, upgradeRequest(await yard.token()), (text) => text.endsWith('first'));
  t.match(answer, /^HTTP\/1\.1 101 .*\r\n\r\nfirst$/s);
  socket.destroy();
});

t.test('a node that resets before its answer gives a 502', async (t) => {
  const yard = await setYard(t, (socket) => socket.resetAndDestroy());
  const socket = await yard.connect();
  const answer = await exchange(socket, upgradeRequest(await yard.token()), (text) => text.endsWith('}\n'));
  t.match(answer, /^HTTP\/1\.1 502 /);
  socket.destroy();
});
