/** What breaks on one side shows on the other, at once, and never as a good end. */
import type { Socket } from 'node:net';
import t from 'tap';
import { exchange, HOST, rawNode, readPaths, setStage, sleep } from './stage.ts';

const get = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

/** Resolves once the socket is closed. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

for (const { how, readsInPlace } of readPaths) {
  t.test(`a caller that leaves amid its upload breaks the connection to the node (${how})`, async (t) => {
    let end: Promise<void> | undefined;
    const node = await rawNode(t, (socket) => {
      end ??= closed(socket);
    });
    const stage = await setStage(t, { readsInPlace, nodes: [node.address] });
    for (const framing of ['Content-Length: 100000', 'Transfer-Encoding: chunked']) {
      end = undefined;
      const socket = await stage.connect();
      socket.write(`PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\n${framing}\r\n\r\n5\r\nhello\r\n`);
      while (end === undefined) await sleep(5);
      socket.destroy();
      await end;
      t.notMatch(node.received.at(-1), /\r\n0\r\n\r\n$/, 'no last chunk');
    }
    const lines = await stage.log(2);
    t.equal(lines.length, 2);
    for (const line of lines) t.match(line, { 'http.response.status_code': 499, ended_by: 'caller' });
  });
}

for (const { how, readsInPlace } of readPaths) {
  t.test(`a caller that leaves amid its download breaks the connection to the node (${how})`, async (t) => {
    let end: Promise<void> | undefined;
    const node = await rawNode(t, (socket) => {
      end = closed(socket);
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun');
    });
    const stage = await setStage(t, { readsInPlace, nodes: [node.address] });
    const socket = await stage.connect();
    await exchange(socket, get, (text) => text.includes('begun'));
    socket.destroy();
    await end;
    t.match(await stage.log(1), [{ 'http.response.status_code': 200, ended_by: 'caller', bytes_out: 5 }]);
  });
}

t.test('a node that breaks off amid its answer leaves the caller with a broken one', async (t) => {
  for (const [head, begun] of [
    ['Content-Length: 100', 'half'],
    ['Transfer-Encoding: chunked', '4\r\nhalf\r\n'],
  ]) {
    const node = await rawNode(t, (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${begun}`);
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
    const stage = await setStage(t, { nodes: [node.address] });
    const socket = await stage.connect();
    const answer = await exchange(socket, get);
    t.match(answer, /half/);
    t.notMatch(answer, /\r\n0\r\n/, 'no last chunk');
    t.match(await stage.log(1), [{ 'http.response.status_code': 200, ended_by: 'upstream' }]);
  }
});

t.test('a node that breaks off before its answer is a 502, one that is not there a 503', async (t) => {
  const node = await rawNode(t, (socket) => socket.resetAndDestroy());
  const stage = await setStage(t, { nodes: [node.address] });
  const socket = await stage.connect();
  t.match(
    await exchange(socket, get, (text) => text.endsWith('}\n')),
    /^HTTP\/1\.1 502 .*"code":"node-failed"/s,
  );
  node.server.close();
  t.match(
    await exchange(socket, get, (text) => text.endsWith('}\n')),
    /^HTTP\/1\.1 503 .*Retry-After: \d.*"code":"node-unavailable"/s,
  );
  t.match(await stage.log(2), [{ 'denial.code': 'node-failed' }, { 'denial.code': 'node-unavailable' }]);
  socket.destroy();
});

t.test('a node that is silent is a 504, a caller that is silent amid its body a 408', async (t) => {
  const node = await rawNode(t, () => undefined);
  const stage = await setStage(t, {
    nodes: [node.address],
    gateway: '  timeouts: { streamIdle: 300ms, linger: 50ms }',
    upstream: '    timeouts: { firstByte: 300ms }',
  });
  const first = await stage.connect();
  t.match(
    await exchange(first, get, (text) => text.endsWith('}\n')),
    /^HTTP\/1\.1 504 .*"code":"node-timeout"/s,
  );
  first.destroy();
  const second = await stage.connect();
  const answer = await exchange(
    second,
    `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 10\r\n\r\nfive`,
  );
  t.match(answer, /^HTTP\/1\.1 408 .*"code":"stream-idle"/s);
});
