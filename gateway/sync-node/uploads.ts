/** Tracks who is sending which stream now, and removes uploads whose senders do not come back. */

import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { removeStaged } from './staged-upload.ts';

/** An upload in progress; it is stopped if the same sender begins again on another connection. */
interface Running {
  readonly owner: string;
  stop(): void;
  readonly over: Promise<void>;
}

/** The longest time an interrupted upload is kept. */
export const MAX_AGE_S = 24 * 60 * 60;
/** The most interrupted uploads kept in one folder; the oldest are removed first. */
const MAX_SUSPENDED = 16;

export class Uploads {
  readonly #running = new Map<string, Running>();

  /**
   * Claims an upload for one sender. If that sender's earlier connection is still being read, stops it first, so that
   * the reported offset counts all frames (the draft's §Concurrency). Returns undefined if somebody else is sending
   * the stream, else a function to call when the upload is over.
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

  /** Makes room in a folder: removes uploads that are applied, too old or too many, but none in progress. */
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

/** Returns undefined if the file no longer exists: an upload that ends in the meantime removes its own. */
async function changedAt(path: string): Promise<number | undefined> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return found?.mtimeMs;
}
