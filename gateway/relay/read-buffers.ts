/** The buffers one connection reads into, reused as soon as their contents are no longer needed. */

import type { OnReadOpts } from 'node:net';

const SMALL_BYTES = 16 * 1024;
const LARGE_BYTES = 256 * 1024;
/** Limit on free buffers kept for later reads; further ones are left to the garbage collector. */
const KEPT = 4;

/** One buffer, and the number of users of what was read into it. */
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
 * Buffers for the `onread` option of `net.connect`: reads reuse buffers instead of allocating one each. To keep a chunk
 * beyond the call that delivers it, call `hold`. A connection that fills its buffer gets larger ones.
 */
export class ReadBuffers {
  readonly #free: ReadBuffer[] = [];
  #size = SMALL_BYTES;
  #current = this.#make();

  /** The `onread` option. The memory of a chunk may be reused after `onChunk` returns, unless it is held. */
  onread(onChunk: (chunk: Buffer) => void): OnReadOpts {
    let readBytes = 0;
    return {
      // The first call asks for the first buffer; later ones follow each read.
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

  /** Keeps the bytes just read in use until the returned function is called, once. */
  hold(): () => void {
    this.#current.users += 1;
    return this.#current.release;
  }

  /** Takes another buffer after a read of `readBytes`, if this one is in use or was filled. */
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
