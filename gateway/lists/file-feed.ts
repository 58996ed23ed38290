/** A list in a file, read again when the file changes. */

import { readFile, stat } from 'node:fs/promises';
import { MIB } from '../core/units.ts';
import type { FileWatch } from '../sources/file-watch.ts';
import type { Feed, FeedListener } from './live-list.ts';

/** A million prefixes take 20 MB. */
const MAX_BYTES = 64 * MIB;

/** A file counts as complete after this long without a write; an empty one, which may just have been created, later. */
const REST_MS = 200;
const EMPTY_REST_MS = 1000;
const MAX_TRIES = 25;

/** Prefix of the fault of a file that is missing or cannot be read. */
export const UNREADABLE = 'cannot be read';

export class FileFeed implements Feed {
  readonly place: string;
  readonly #watch: FileWatch | undefined;
  #stopWatching: (() => void) | undefined;
  #stopped = false;
  #reading: Promise<void> = Promise.resolve();

  /** Without a watch, the file is read only once. */
  constructor(path: string, watch?: FileWatch) {
    this.place = path;
    this.#watch = watch;
  }

  async start(listener: FeedListener): Promise<void> {
    this.#stopWatching = await this.#watch?.watch([this.place], () => this.#readNext(listener));
    if (this.#stopped) this.stop();
    this.#readNext(listener);
    await this.#reading;
  }

  settled(): Promise<void> {
    return this.#reading;
  }

  stop(): void {
    this.#stopped = true;
    this.#stopWatching?.();
  }

  /** Reads one after another, so that the last snapshot is the newest. */
  #readNext(listener: FeedListener): void {
    this.#reading = this.#reading.then(() => this.#read(listener));
  }

  async #read(listener: FeedListener): Promise<void> {
    try {
      const text = await readAtRest(this.place, this.#watch !== undefined);
      if (!this.#stopped) listener.onSnapshot({ kind: 'text', text });
    } catch (error) {
      const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      if (!this.#stopped) listener.onFault(`${UNREADABLE}: ${reason}`);
    }
  }
}

/**
 * Returns the text of a file that nobody is writing: it has not changed for a while before it is read, nor during the
 * read. Half of an allow list would be valid, and would refuse the other half.
 */
async function readAtRest(path: string, mayChange: boolean): Promise<string> {
  for (let tries = 0; ; tries++) {
    const before = await stat(path);
    if (before.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
    const restedMs = Date.now() - before.mtimeMs;
    const restMs = before.size === 0 ? EMPTY_REST_MS : REST_MS;
    // `tries` bounds the wait, since the clock may be far behind that of the file.
    if (mayChange && restedMs < restMs && tries < MAX_TRIES) {
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      continue;
    }
    const text = await readFile(path, 'utf8');
    const after = await stat(path);
    const isSame = after.mtimeMs === before.mtimeMs && after.size === before.size && after.ino === before.ino;
    if (isSame) return text;
    if (tries >= MAX_TRIES) throw new Error('it keeps changing');
  }
}
