/**
 * The node behind all proxies, run as a process. It reads the body of any request and answers with its number of bytes;
 * `/down/<bytes>` returns that many bytes, `/connections` the connections accepted so far. Prints its port.
 */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MIB } from '../../gateway/core/units.ts';

const PIECE = Buffer.alloc(256 * 1024, 'w');

let connections = 0;

const server = createServer({ keepAliveTimeout: 600_000, highWaterMark: MIB }, (request, response) => {
  const [, wanted] = /^\/down\/(\d+)$/.exec(request.url ?? '') ?? [];
  if (wanted !== undefined) {
    send(Number(wanted));
    return;
  }
  let received = 0;
  request.on('data', (piece: Buffer) => {
    received += piece.length;
  });
  request.on('end', () => {
    const body = `${request.url === '/connections' ? connections : received}\n`;
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
    response.end(body);
  });

  function send(bytes: number): void {
    response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': bytes });
    let left = bytes;
    const more = (): void => {
      while (left > 0) {
        const piece = left >= PIECE.length ? PIECE : PIECE.subarray(0, left);
        left -= piece.length;
        if (!response.write(piece)) {
          response.once('drain', more);
          return;
        }
      }
      response.end();
    };
    more();
  }
});

server.on('connection', () => {
  connections += 1;
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
