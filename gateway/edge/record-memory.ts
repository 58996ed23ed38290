/** Memory that the records of callers are read into, instead of a new buffer for each. */

import type { Log } from '../observe/log.ts';
import { ownReadsWork } from './own-reads.ts';

/** The largest TLS record (RFC 8446 §5.1); Node delivers no more at once. */
export const RECORD_BYTES = 16_384;
const SLAB_BYTES = 128 * 1024;
/** Free slabs kept for later streams; further ones are left to the garbage collector. */
const KEPT_SLABS = 32;

/** Records side by side, so that many of them leave in one write. */
export class Slab {
  readonly bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly #onFree: (slab: Slab) => void;
  #at = 0;
  #users = 0;
  #left = false;
  readonly #release: () => void;

  /** `onFree` is called once its bytes are no longer held, and nothing is read into it any more. */
  constructor(onFree: (slab: Slab) => void) {
    this.#onFree = onFree;
    this.#release = () => {
      this.#users -= 1;
      this.#settle();
    };
  }

  /** Where the next record goes; undefined if there is no room left. */
  next(): Buffer | undefined {
    if (this.#users === 0) this.#at = 0;
    if (this.#at + RECORD_BYTES > SLAB_BYTES) return undefined;
    return this.bytes.subarray(this.#at, this.#at + RECORD_BYTES);
  }

  /** Records that `bytes` bytes were read to where `next` pointed. */
  take(bytes: number): void {
    this.#at += bytes;
  }

  /** Whether these bytes are in this slab. */
  holds({ buffer }: Buffer): boolean {
    return buffer === this.bytes.buffer;
  }

  /** Keeps its bytes until the returned function is called, once. */
  hold(): () => void {
    this.#users += 1;
    return this.#release;
  }

  /** Nothing more will be read into it. */
  leave(): void {
    this.#left = true;
    this.#settle();
  }

  /** Prepares it for another stream. */
  reenter(): this {
    this.#left = false;
    this.#at = 0;
    return this;
  }

  #settle(): void {
    if (this.#left && this.#users === 0) this.#onFree(this);
  }
}

/** Shared by all connections of a process. */
export class RecordMemory {
  /** Heads are read into it, one connection at a time; what is kept beyond the call is copied. */
  readonly scratch = Buffer.allocUnsafeSlow(RECORD_BYTES);
  readonly #free: Slab[] = [];

  /** Returns a slab for a stream; `leave` gives it back. */
  take(): Slab {
    const free = this.#free.pop();
    return free?.reenter() ?? new Slab((slab) => this.#giveBack(slab));
  }

  #giveBack(slab: Slab): void {
    if (this.#free.length < KEPT_SLABS && !this.#free.includes(slab)) this.#free.push(slab);
  }
}

/** Resolves to undefined, and logs a warning, if reading in place does not work on this Node. */
export async function createRecordMemory(log: Log): Promise<RecordMemory | undefined> {
  if (await ownReadsWork()) return new RecordMemory();
  log.warn({}, 'reading in place does not work on this Node; each read allocates a buffer');
  return undefined;
}
