/** Some of the idle callers, run as a process: connections that send one request and then stay silent. */

import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';

/** What the process should do; it sends a report when it is done. */
export type IdleOrder =
  | { readonly order: 'open'; readonly count: number; readonly tls: ConnectionOptions }
  | { readonly order: 'ask'; readonly request: string }
  | { readonly order: 'close' };

export interface IdleReport {
  /** Open connections. */
  readonly open: number;
  /** Connections that failed or were closed by the other side, and answers other than 200. */
  readonly lost: number;
}

/** Concurrent handshakes or requests of this process. */
const AT_ONCE = 8;

const sockets = new Set<TLSSocket>();
let lost = 0;

async function each(work: (index: number) => Promise<void>, count: number): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

function open(tls: ConnectionOptions): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(tls, () => {
      sockets.add(socket);
      resolve();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (sockets.delete(socket)) lost += 1;
      resolve();
    });
    // Reads the tickets that follow the handshake.
    socket.resume();
  });
}

function ask(socket: TLSSocket, request: string): Promise<void> {
  return new Promise((resolve) => {
    socket.once('data', (answer: Buffer) => {
      if (!answer.toString('latin1').startsWith('HTTP/1.1 200 ')) lost += 1;
      resolve();
    });
    socket.once('close', () => resolve());
    socket.write(request);
  });
}

async function obey(order: IdleOrder): Promise<void> {
  if (order.order === 'open') await each(() => open(order.tls), order.count);
  else if (order.order === 'ask') {
    const all = [...sockets];
    await each(async (index) => {
      const socket = all[index];
      if (socket !== undefined) await ask(socket, order.request);
    }, all.length);
  } else {
    const all = [...sockets];
    sockets.clear();
    for (const socket of all) socket.destroy();
  }
  const report: IdleReport = { open: sockets.size, lost };
  process.send?.(report);
}

process.on('message', (order: IdleOrder) => void obey(order));
process.on('disconnect', () => process.exit());
