/** The node notices at once when a caller leaves, however it is read; other breaks are in test/faults/. */
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
      t.notMatch(node.received.at(-1), /\r\n0\r\n\r\n$/, 'no last chunk is sent');
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
