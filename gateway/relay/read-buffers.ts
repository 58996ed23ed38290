/** The buffers one connection reads into, reused as soon as their contents are no longer needed. */

import type { OnReadOpts } from 'node:net';

const SMALL_BYTES = 16 * 1024;
const LARGE_BYTES = 256 * 1024;
/** Each read costs a turn of the event loop and a write: a long stream is read in a quarter of them. */
const HUGE_BYTES = 1024 * 1024;
/** More than the kernel buffers: the caller does take what is read. */
const LONG_BYTES = 16 * 1024 * 1024;
/** Connections of this process that may have huge buffers at once. */
const MAX_HUGE = 8;
/** Limit on free buffers kept for later reads; further ones are left to the garbage collector. */
const KEPT = 1;

let hugeConnections = 0;

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
 * beyond the call that delivers it, call `hold`. A connection that fills its buffer gets larger ones until it rests.
 */
export class ReadBuffers {
  readonly #free: ReadBuffer[] = [];
  #size = SMALL_BYTES;
  /** Bytes read since the connection last rested. */
  #flowedBytes = 0;
  /** Whether it is one of the few connections with huge buffers. */
  #isHuge = false;
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

  /** No response is expected for now: the buffer after the next read is small again. */
  rest(): void {
    this.#flowedBytes = 0;
    if (this.#size === SMALL_BYTES) return;
    this.#size = SMALL_BYTES;
    this.#free.length = 0;
  }

  /** Nothing more is read. */
  close(): void {
    this.#leaveHuge();
  }

  #leaveHuge(): void {
    if (this.#isHuge) hugeConnections -= 1;
    this.#isHuge = false;
  }

  /** Takes another buffer after a read of `readBytes`, if this one is in use, was filled, or has another size. */
  #turn(readBytes: number): void {
    this.#flowedBytes += readBytes;
    const { length } = this.#current.bytes;
    if (readBytes === length && length === this.#size) this.#grow();
    if (this.#current.users === 0 && length === this.#size) return;
    this.#current = this.#free.pop() ?? this.#make();
    if (this.#size !== HUGE_BYTES) this.#leaveHuge();
  }

  #grow(): void {
    if (this.#size === SMALL_BYTES) {
      this.#size = LARGE_BYTES;
    } else if (this.#size === LARGE_BYTES && this.#flowedBytes >= LONG_BYTES && hugeConnections < MAX_HUGE) {
      hugeConnections += 1;
      this.#isHuge = true;
      this.#size = HUGE_BYTES;
    } else {
      return;
    }
    this.#free.length = 0;
  }

  #make(): ReadBuffer {
    return new ReadBuffer(this.#size, (free) => {
      const isWanted = free.bytes.length === this.#size && this.#free.length < KEPT;
      if (isWanted && free !== this.#current) this.#free.push(free);
    });
  }
}
