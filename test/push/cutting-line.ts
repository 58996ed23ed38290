/** A line to a server that breaks after so many bytes of a caller, or before the caller hears the answer. */

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';

/** The fate of one connection. */
export interface Cut {
  /** Bytes of the caller that get through before the line breaks. */
  readonly sent?: number;
  /** The line breaks at the first answer that contains this, and the answer is lost. */
  readonly answer?: string;
}

export interface CuttingLine {
  readonly port: number;
  readonly url: string;
  /** Connections made so far. */
  readonly connections: () => number;
}

/** The connections meet the cuts in turn; later ones are not cut. */
export async function cutLine(t: Test, to: number, cuts: readonly Cut[]): Promise<CuttingLine> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((caller) => {
    const cut = cuts[connections] ?? {};
    connections += 1;
    const node = connect(to, '127.0.0.1');
    for (const socket of [caller, node]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    join(caller, node, cut);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, url: `http://127.0.0.1:${port}`, connections: () => connections };
}

function join(caller: Socket, node: Socket, cut: Cut): void {
  let left = cut.sent ?? Number.POSITIVE_INFINITY;
  caller.on('data', (chunk: Buffer) => {
    const part = chunk.subarray(0, left);
    left -= part.length;
    if (left > 0) {
      node.write(part);
      return;
    }
    for (const socket of [caller, node]) socket.removeAllListeners('data').removeAllListeners('close');
    // The node gets what was sent before the line broke and then sees it break; none of its answers get back.
    node.resume().end(part);
    caller.destroy();
  });
  let heard = '';
  node.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1');
    if (cut.answer !== undefined && heard.includes(cut.answer)) {
      caller.destroy();
      node.destroy();
    } else if (!caller.destroyed) caller.write(chunk);
  });
  caller.on('close', () => node.destroy());
  node.on('close', () => caller.destroy());
}
