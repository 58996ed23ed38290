/**
 * A caller in its own process, so that its allocations are not counted with those of the gateway. It puts or gets so many
 * bytes, takes its orders as JSON in the first argument, and prints how many body bytes it moved.
 */
import { Agent, request } from 'node:https';

interface Orders {
  readonly port: number;
  readonly serverName: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly direction: 'up' | 'down';
  readonly bytes: number;
}

const orders: Orders = JSON.parse(process.argv[2] ?? '');
const { port, serverName, ca, cert, key, direction, bytes } = orders;
const piece = Buffer.alloc(256 * 1024, 'w');

const outgoing = request({
  agent: new Agent({ ca, cert, key, servername: serverName }),
  host: '127.0.0.1',
  port,
  method: direction === 'up' ? 'PUT' : 'GET',
  path: direction === 'up' ? '/up' : `/down/${bytes}`,
  headers: { host: serverName, ...(direction === 'up' && { 'content-length': bytes }) },
});

outgoing.on('response', (response) => {
  let text = '';
  let received = 0;
  response.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (direction === 'up') text += chunk.toString();
  });
  response.on('end', () => {
    process.stdout.write(direction === 'up' ? text : `${received}\n`);
    process.exit(0);
  });
});

function send(left: number): void {
  for (let rest = left; rest > 0; rest -= piece.length) {
    if (outgoing.write(rest >= piece.length ? piece : piece.subarray(0, rest))) continue;
    outgoing.once('drain', () => send(rest - piece.length));
    return;
  }
  outgoing.end();
}

if (direction === 'up') send(bytes);
else outgoing.end();
