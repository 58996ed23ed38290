/** Binds an address, exclusively or together with other processes. */

import type { ListenOptions, Server } from 'node:net';

interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Rejects if the address cannot be bound. */
export function bind(server: Server, { host, port }: HostPort): Promise<void> {
  return listen(server, { host, port });
}

/**
 * Binds with `SO_REUSEPORT`: all processes that do so get a part of the connections. If the system does not support it,
 * binds `alone` instead. A worker then shares the one socket of its primary (node:cluster), which finds it by the
 * address that was requested first; a gateway without workers has the address for itself.
 */
export async function bindShared(server: Server, { host, port }: HostPort, alone: HostPort): Promise<void> {
  try {
    await listen(server, { host, port, reusePort: true });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOTSUP')) throw error;
    await bind(server, alone);
  }
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
