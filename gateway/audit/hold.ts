/** Locks an audit file for one process: two writers, such as an old and a new version, would corrupt its chain. */

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
 * Locks the file or, if another process holds it, `<file>.2`, `<file>.3` …, each of which has a chain of its own. The
 * lock is an abstract socket (unix(7)), which the kernel releases when the process ends. These exist only on Linux, and
 * each network namespace has its own; without them nothing is locked. Rejects if all files are held.
 */
export async function holdFile(path: string): Promise<HeldFile> {
  for (let number = 1; number <= MAX_FILES; number++) {
    const candidate = number === 1 ? path : `${path}.${number}`;
    const server = await hold(candidate);
    if (server !== 'held') return { path: candidate, release: () => void server?.close() };
  }
  throw new Error(`${path} and ${path}.2 to .${MAX_FILES} are locked by other processes`);
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
