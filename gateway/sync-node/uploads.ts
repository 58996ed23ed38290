/** Who is sending which stream now, and what became of those whose senders went away. */

import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { removeStaged } from './staged-upload.ts';

/** A sender that may be told to stop, because the same one begins again elsewhere. */
interface Running {
  readonly owner: string;
  stop(): void;
  readonly over: Promise<void>;
}

/** An interrupted upload is kept for so long … */
export const MAX_AGE_S = 24 * 60 * 60;
/** … and no more of them in one folder; the oldest goes first. */
const MAX_SUSPENDED = 16;

export class Uploads {
  readonly #running = new Map<string, Running>();

  /**
   * Takes an upload for one sender. One that comes back while the node still listens to its broken connection stops that
   * first, so the frames told are all there are (the draft's §Concurrency). Nothing where somebody else sends the stream
   * now. Call what comes back when it is over.
   */
  async take(path: string, owner: string, stop: () => void): Promise<(() => void) | undefined> {
    for (let running = this.#running.get(path); running !== undefined; running = this.#running.get(path)) {
      if (running.owner !== owner) return undefined;
      running.stop();
      await running.over;
    }
    const { promise: over, resolve } = Promise.withResolvers<void>();
    this.#running.set(path, { owner, stop, over });
    return () => {
      this.#running.delete(path);
      resolve();
    };
  }

  /** Makes room in a folder: uploads that are applied, too old or too many go, but none that runs. */
  async tidy(folder: string, isApplied: (streamId: string) => boolean, nowMs: number): Promise<void> {
    await mkdir(folder, { recursive: true });
    const suspended = new Map<string, number>();
    for (const name of await readdir(folder)) {
      const streamId = name.replace(/\.json(?:\.new)?$/, '');
      if (this.#running.has(join(folder, streamId))) continue;
      const changedMs = await changedAt(join(folder, name));
      if (changedMs !== undefined) suspended.set(streamId, Math.max(suspended.get(streamId) ?? 0, changedMs));
    }
    const latestFirst = [...suspended].sort(([, a], [, b]) => b - a);
    for (const [at, [streamId, changedMs]] of latestFirst.entries()) {
      const tooOld = nowMs - changedMs > MAX_AGE_S * 1000;
      if (at >= MAX_SUSPENDED || tooOld || isApplied(streamId)) await removeStaged(join(folder, streamId));
    }
  }
}

/** Nothing where there is no such file any more: an upload that ends meanwhile takes its own away. */
async function changedAt(path: string): Promise<number | undefined> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return found?.mtimeMs;
}
