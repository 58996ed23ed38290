/** Binds an address, alone or beside other processes. */

import type { ListenOptions, Server } from 'node:net';

interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Rejects when the address cannot be had. */
export function bind(server: Server, { host, port }: HostPort): Promise<void> {
  return listen(server, { host, port });
}

/**
 * Beside others that bind it the same way (`SO_REUSEPORT`), each of which gets a part of the connections. Where the
 * system does not know this `alone` is bound: a worker then shares the one socket of its primary (node:cluster), which
 * knows it by the address that was asked for at first; a gateway without workers has it for itself.
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
