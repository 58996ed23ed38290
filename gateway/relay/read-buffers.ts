/** The buffers one connection reads into, used again as soon as nobody needs what is in them. */

import type { OnReadOpts } from 'node:net';

const SMALL_BYTES = 64 * 1024;
const LARGE_BYTES = 256 * 1024;
/** Free buffers kept for the next read; further ones are left to the collector. */
const KEPT = 4;

/** One buffer, and how many still use what was read into it. */
class ReadBuffer {
  readonly bytes: Buffer;
  users = 0;
  readonly release: () => void;

  constructor(size: number, onFree: (free: ReadBuffer) => void) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.release = () => {
      this.users -= 1;
      if (this.users === 0) onFree(this);
    };
  }
}

/**
 * For `onread` of `net.connect`: reads land in buffers that are there already, instead of a new one each. Who keeps a view
 * beyond the call it came with says so by `hold`. A connection that fills its buffer gets larger ones.
 */
export class ReadBuffers {
  readonly #free: ReadBuffer[] = [];
  #size = SMALL_BYTES;
  #current = this.#make();

  /** For the options of `net.connect`: each chunk is others' after the call, unless it is held. */
  onread(onChunk: (chunk: Buffer) => void): OnReadOpts {
    let readBytes = 0;
    return {
      // The first call asks for the first buffer, the others come behind each read.
      buffer: () => {
        if (readBytes > 0) this.#turn(readBytes);
        return this.#current.bytes;
      },
      callback: (bytes) => {
        readBytes = bytes;
        onChunk(this.#current.bytes.subarray(0, bytes));
        return true;
      },
    };
  }

  /** The bytes that were read are in use until the answer is called, once. */
  hold(): () => void {
    this.#current.users += 1;
    return this.#current.release;
  }

  /** After a read of so many bytes, another buffer where this one is in use, or was filled. */
  #turn(readBytes: number): void {
    if (readBytes === this.#current.bytes.length) this.#grow();
    else if (this.#current.users === 0) return;
    this.#current = this.#free.pop() ?? this.#make();
  }

  #grow(): void {
    if (this.#size === LARGE_BYTES) return;
    this.#size = LARGE_BYTES;
    this.#free.length = 0;
  }

  #make(): ReadBuffer {
    return new ReadBuffer(this.#size, (free) => {
      const isWanted = free.bytes.length === this.#size && this.#free.length < KEPT;
      if (isWanted && free !== this.#current) this.#free.push(free);
    });
  }
}
