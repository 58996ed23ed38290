/** Holds a file for one process: two that write one chain would spoil it, as when a new version starts beside the old. */

import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';

const MAX_FILES = 16;

export interface HeldFile {
  readonly path: string;
  release(): void;
}

/**
 * The file, or `<file>.2`, `<file>.3` … where others hold it: each then has a chain of its own. What holds is an abstract
 * socket (unix(7)), which the system lets go when the process ends; where there are none (they are Linux's, and a
 * network namespace has its own) nothing is held. Rejects when all are held.
 */
export async function holdFile(path: string): Promise<HeldFile> {
  for (let number = 1; number <= MAX_FILES; number++) {
    const candidate = number === 1 ? path : `${path}.${number}`;
    const server = await hold(candidate);
    if (server !== 'held') return { path: candidate, release: () => void server?.close() };
  }
  throw new Error(`${path} and ${MAX_FILES - 1} beside it are held by other processes`);
}

async function hold(path: string): Promise<Server | undefined | 'held'> {
  const real = join(await realpath(dirname(path)), basename(path));
  const name = createHash('sha256').update(real).digest('hex');
  const server = createServer((socket) => socket.destroy()).unref();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code === 'EADDRINUSE' ? 'held' : undefined),
    );
    server.listen({ path: `\0patchgate-audit-${name}` }, () => resolve(server));
  });
}
