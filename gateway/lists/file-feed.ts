/** A list in a file, read again when the file changes. */

import { readFile, stat } from 'node:fs/promises';
import type { FileWatch } from '../sources/file-watch.ts';
import type { Feed, FeedListener } from './live-list.ts';

/** A million prefixes take 20 MB. */
const MOST_BYTES = 64 * 1024 * 1024;

/** What the fault of a file that is not there, or not to be had, begins with. */
export const UNREADABLE = 'cannot be read';

export class FileFeed implements Feed {
  readonly place: string;
  readonly #watch: FileWatch | undefined;
  #stopWatching: (() => void) | undefined;
  #stopped = false;
  #reading: Promise<void> = Promise.resolve();

  /** Without a watch the file is read once. */
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

  /** One after the other, so that what is told last is the newest. */
  #readNext(listener: FeedListener): void {
    this.#reading = this.#reading.then(() => this.#read(listener));
  }

  async #read(listener: FeedListener): Promise<void> {
    try {
      const { size } = await stat(this.place);
      if (size > MOST_BYTES) throw new Error(`it is larger than ${MOST_BYTES} bytes`);
      const text = await readFile(this.place, 'utf8');
      if (!this.#stopped) listener.onSnapshot({ kind: 'text', text });
    } catch (error) {
      const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      if (!this.#stopped) listener.onFault(`${UNREADABLE}: ${reason}`);
    }
  }
}
