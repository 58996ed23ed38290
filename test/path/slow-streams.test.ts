/** A minimum rate is required of the side that is waited for, and of nobody else. */
import type { Socket } from 'node:net';
import t from 'tap';
import { until } from '../lists/servers.ts';
import { get, KIB, MIB, pump, put, ROUTES, setYard, silent, trickle } from './slow-yard.ts';
import { exchange, rawNode, setStage, sleep } from './stage.ts';

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

t.test('a fast enough body goes on, and so does any body on a route without a rate', async (t) => {
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

t.test('a caller held back by its node is not considered slow', async (t) => {
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
  t.notOk(answered, 'no answer came in four times the grace');
  t.ok(socket.bytesWritten < 60 * MIB, 'the caller would have sent more');
  yard.nodes[0]?.resume();
  t.ok(await until(async () => socket.bytesWritten > 64 * MIB && socket.writableLength === 0));
  socket.destroy();
});

t.test('a caller that takes its answer too slowly is broken off', async (t) => {
  const yard = await setYard(t, 64 * MIB);
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(get('/quick/x'));
  const [line] = await yard.log(1);
  t.match(line, {
    'http.response.status_code': 200,
    'denial.code': 'too-slow',
    cause: 'The response is read too slowly.',
    ended_by: 'gateway',
  });
  t.ok(await until(async () => yard.nodes[0]?.destroyed === true), 'the connection to the node is released');
  socket.destroy();
});

t.test('a caller that takes its answer fast enough gets it all, even if it always lags', async (t) => {
  const yard = await setYard(t, 64 * MIB);
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  let takenBytes = 0;
  socket.on('data', (chunk: Buffer) => {
    takenBytes += chunk.length;
    socket.pause();
    setTimeout(() => socket.resume(), 1);
  });
  socket.write(get('/paced/x'));
  t.ok(await until(async () => takenBytes > 16 * MIB));
  t.notOk(socket.destroyed);
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
