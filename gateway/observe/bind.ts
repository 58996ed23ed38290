/** Binds an address, by itself or beside other processes. */

import type { ListenOptions, Server } from 'node:net';

/**
 * Rejects when the address cannot be had. Where the system does not know `SO_REUSEPORT` the address is bound without: a
 * worker then shares the one socket of its primary (node:cluster), and a gateway has it for itself.
 */
export async function bind(server: Server, options: ListenOptions): Promise<void> {
  try {
    await listen(server, options);
  } catch (error) {
    if (!options.reusePort || !(error instanceof Error && 'code' in error && error.code === 'ENOTSUP'))
      throw error;
    await listen(server, { ...options, reusePort: false });
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
