/** Bodies of every length and framing arrive as sent, in both directions and under back-pressure. */

import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { exchange, HOST, isWhole, rawNode, readPaths, type Stage, setStage, sleep } from './stage.ts';

/** A node that sends back what it gets, by length if the request has one, else in chunks. */
async function echoNode(t: Test): Promise<string> {
  const server = createServer((incoming, response) => {
    const length = incoming.headers['content-length'];
    if (length !== undefined) response.setHeader('Content-Length', length);
    incoming.pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A node that pauses after every piece, and answers with the hash of what it got. */
async function fitfulNode(t: Test): Promise<string> {
  const server = createServer((incoming, response) => {
    const hash = createHash('sha256');
    incoming.on('data', (piece: Buffer) => {
      hash.update(piece);
      incoming.pause();
      setTimeout(() => incoming.resume(), piece.length % 4);
    });
    incoming.on('end', () => response.end(hash.digest('hex')));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function putForHash(stage: Stage, body: Buffer, chunked: boolean): Promise<string> {
  const socket = await stage.connect();
  const answer = await new Promise<string>((resolve, reject) => {
    const headers = { host: HOST, ...(chunked ? {} : { 'content-length': body.length }) };
    const outgoing = request(
      { createConnection: () => socket, method: 'PUT', path: '/open/hash', headers },
      (response) => response.setEncoding('utf8').on('data', resolve),
    );
    outgoing.on('error', reject);
    Readable.from(pieces(body), { objectMode: false }).pipe(outgoing);
  });
  socket.destroy();
  return answer;
}

async function put(stage: Stage, body: Buffer, chunked: boolean): Promise<{ status: number; hash: string }> {
  const socket = await stage.connect();
  return new Promise((resolve, reject) => {
    const headers = { host: HOST, ...(chunked ? {} : { 'content-length': body.length }) };
    const outgoing = request(
      { createConnection: () => socket, method: 'PUT', path: '/open/echo', headers },
      (response) => resolve(hashOf(response)),
    );
    outgoing.on('error', reject);
    Readable.from(pieces(body), { objectMode: false }).pipe(outgoing);
  }).then(async (hash) => {
    socket.destroy();
    return hash as { status: number; hash: string };
  });
}

/** Pieces of uneven lengths. */
function* pieces(body: Buffer): Generator<Buffer> {
  for (let at = 0, step = 1; at < body.length; at += step, step = (step * 7 + 3) % 40_000 || 1) {
    yield body.subarray(at, at + step);
  }
}

async function hashOf(response: IncomingMessage): Promise<{ status: number; hash: string }> {
  const hash = createHash('sha256');
  for await (const piece of response) hash.update(piece);
  return { status: response.statusCode ?? 0, hash: hash.digest('hex') };
}

for (const { how, readsInPlace } of readPaths) {
  t.test(`a body of any length and framing comes back bit for bit (${how})`, async (t) => {
    const stage = await setStage(t, { readsInPlace, nodes: [await echoNode(t)] });
    for (const length of [0, 1, 16_383, 16_384, 65_537, 3 * MIB]) {
      const body = randomBytes(length);
      const expected = { status: 200, hash: createHash('sha256').update(body).digest('hex') };
      t.same(await put(stage, body, false), expected, `${length} declared bytes come back`);
      t.same(await put(stage, body, true), expected, `${length} bytes in chunks come back`);
    }
  });

  t.test(`many simultaneous streams do not mix (${how})`, async (t) => {
    const stage = await setStage(t, { readsInPlace, nodes: [await echoNode(t), await echoNode(t)] });
    const bodies = Array.from({ length: 24 }, (_, index) => randomBytes(100_000 + index * 5000));
    const answers = await Promise.all(bodies.map((body, index) => put(stage, body, index % 2 === 0)));
    t.same(
      answers.map(({ hash }) => hash),
      bodies.map((body) => createHash('sha256').update(body).digest('hex')),
    );
  });

  t.test(`a node that reads in fits and starts gets what was sent (${how})`, async (t) => {
    const stage = await setStage(t, { readsInPlace, nodes: [await fitfulNode(t), await fitfulNode(t)] });
    const bodies = Array.from({ length: 8 }, (_, index) => randomBytes(4 * MIB + index * 1001));
    const answers = await Promise.all(bodies.map((body, index) => putForHash(stage, body, index % 2 === 0)));
    t.same(
      answers,
      bodies.map((body) => createHash('sha256').update(body).digest('hex')),
    );
  });
}

/** Writes zeros until the socket has taken none for a while; resolves to the number written. */
async function fill(socket: Socket, limit: number): Promise<number> {
  const piece = Buffer.alloc(64 * 1024);
  let sent = 0;
  let movedAt = Date.now();
  while (sent < limit && Date.now() - movedAt < 700) {
    if (socket.writableLength < piece.length) {
      socket.write(piece);
      sent += piece.length;
      movedAt = Date.now();
    }
    await sleep(1);
  }
  return sent;
}

/** A node that hands over its connections as they come. */
async function tcpNode(t: Test, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

for (const { how, readsInPlace } of readPaths) {
  t.test(`a node that does not read holds back its caller and nobody else (${how})`, async (t) => {
    const length = 64 * MIB;
    let slow: Socket | undefined;
    let received = 0;
    const node = await tcpNode(t, (socket) => {
      if (slow !== undefined) {
        socket.end('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n');
        return;
      }
      slow = socket;
      socket.on('data', (piece: Buffer) => {
        received += piece.length;
      });
      socket.pause();
    });
    const stage = await setStage(t, { readsInPlace, nodes: [node] });
    const socket = await stage.connect();
    socket.write(`PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${length}\r\n\r\n`);
    while (slow === undefined) await sleep(5);
    const stalled = await fill(socket, length);
    t.ok(stalled < 32 * MIB, `only ${stalled} bytes were taken`);
    t.match(await get(stage), /^HTTP\/1\.1 204/, 'another caller is served meanwhile');
    slow.resume();
    socket.write(Buffer.alloc(length - stalled));
    while (received < length) await sleep(10);
    t.pass('all of it arrived');
    socket.destroy();
  });
}

async function get(stage: Stage): Promise<string> {
  const socket = await stage.connect();
  const answer = await exchange(socket, `GET /open/y HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
  socket.destroy();
  return answer;
}

for (const { how, readsInPlace } of readPaths) {
  t.test(`a caller that does not read holds back its node, but gets everything (${how})`, async (t) => {
    const length = 64 * MIB;
    let node: Socket | undefined;
    const address = await tcpNode(t, (socket) => {
      node = socket;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`);
    });
    const stage = await setStage(t, { readsInPlace, nodes: [address] });
    const socket = await stage.connect();
    socket.pause();
    socket.write(`GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    while (node === undefined) await sleep(5);
    const stalled = await fill(node, length);
    t.ok(stalled < 32 * MIB, `only ${stalled} bytes were taken`);
    node.write(Buffer.alloc(length - stalled));
    t.equal(await bodyBytes(socket, length), length);
    const [line] = await stage.log(1);
    t.match(line, { bytes_out: length, ended_by: 'upstream' });
    socket.destroy();
  });
}

/** How many bytes follow the head, once that many have come or no more do. */
function bodyBytes(socket: TLSSocket, expected: number): Promise<number> {
  return new Promise((resolve) => {
    let head: string | undefined = '';
    let bytes = 0;
    socket.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (head !== undefined) {
        head += piece.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        bytes = head.length - end - 4;
        head = undefined;
      }
      if (bytes >= expected) resolve(bytes);
    });
    socket.on('close', () => resolve(bytes));
    socket.resume();
  });
}

for (const { how, readsInPlace } of readPaths) {
  t.test(
    `requests of one connection share a node connection and keep their order when pipelined (${how})`,
    async (t) => {
      const node = await rawNode(t, (socket, text) => {
        const asked = [...text.matchAll(/GET (\S+)/g)];
        const answered = text.match(/\r\n\r\n/g)?.length ?? 0;
        const path = asked.at(answered - 1)?.[1] ?? '';
        if (text.endsWith('\r\n\r\n'))
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
      });
      const stage = await setStage(t, { readsInPlace, nodes: [node.address] });
      const socket = await stage.connect();
      const head = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
      t.ok(isWhole(await exchange(socket, head('/open/1'), (text) => text.endsWith('/open/1'))));
      const answers = await exchange(socket, head('/open/2') + head('/open/3') + head('/open/4'), (text) =>
        text.endsWith('/open/4'),
      );
      t.same([...answers.matchAll(/\/open\/\d/g)].map(String), ['/open/2', '/open/3', '/open/4']);
      t.equal(node.received.length, 1, 'there is one connection to the node');
      t.equal((await stage.log(4)).length, 4);
      socket.destroy();
    },
  );
}
