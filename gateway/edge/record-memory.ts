/** Where the records of callers are read to: memory that is there already, in place of a new buffer for each. */

import type { Log } from '../observe/log.ts';
import { ownReadsWork } from './own-reads.ts';

/** The largest TLS record (RFC 8446 §5.1); Node hands on no more at once. */
export const RECORD_BYTES = 16_384;
const SLAB_BYTES = 128 * 1024;
/** Slabs kept for the next stream; further ones are left to the collector. */
const KEPT_SLABS = 32;

/** Records side by side, so that many of them leave in one write. */
export class Slab {
  readonly bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly #onFree: (slab: Slab) => void;
  #at = 0;
  #users = 0;
  #left = false;
  readonly #release: () => void;

  /** `onFree` is called once nobody uses what is in it, and nobody reads into it any more. */
  constructor(onFree: (slab: Slab) => void) {
    this.#onFree = onFree;
    this.#release = () => {
      this.#users -= 1;
      this.#settle();
    };
  }

  /** Where the next record goes; nothing when there is no room left. */
  next(): Buffer | undefined {
    if (this.#users === 0) this.#at = 0;
    if (this.#at + RECORD_BYTES > SLAB_BYTES) return undefined;
    return this.bytes.subarray(this.#at, this.#at + RECORD_BYTES);
  }

  /** So many bytes were read to where `next` said. */
  take(bytes: number): void {
    this.#at += bytes;
  }

  /** Whether these bytes are in it. */
  holds({ buffer }: Buffer): boolean {
    return buffer === this.bytes.buffer;
  }

  /** What is in it is in use until the answer is called, once. */
  hold(): () => void {
    this.#users += 1;
    return this.#release;
  }

  /** Nothing more is read into it. */
  leave(): void {
    this.#left = true;
    this.#settle();
  }

  /** Used by another stream. */
  reenter(): this {
    this.#left = false;
    this.#at = 0;
    return this;
  }

  #settle(): void {
    if (this.#left && this.#users === 0) this.#onFree(this);
  }
}

/** Of all connections of a gateway. */
export class RecordMemory {
  /** Heads are read from here, a connection at a time: what is kept of it beyond the call is copied. */
  readonly scratch = Buffer.allocUnsafeSlow(RECORD_BYTES);
  readonly #free: Slab[] = [];

  /** A slab for a stream; it comes back by its `leave`. */
  take(): Slab {
    const free = this.#free.pop();
    return free?.reenter() ?? new Slab((slab) => this.#giveBack(slab));
  }

  #giveBack(slab: Slab): void {
    if (this.#free.length < KEPT_SLABS && !this.#free.includes(slab)) this.#free.push(slab);
  }
}

/** Undefined, and the log says so, where this Node does not read in place. */
export async function createRecordMemory(log: Log): Promise<RecordMemory | undefined> {
  if (await ownReadsWork()) return new RecordMemory();
  log.warn({}, 'reading in place does not work on this Node; each read allocates a buffer');
  return undefined;
}
