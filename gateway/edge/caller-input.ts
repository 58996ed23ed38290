/** Delivers what a caller sends, chunk by chunk, from whichever memory it is read into. */

import type { Socket } from 'node:net';
import { readIntoOwn } from './own-reads.ts';
import type { RecordMemory, Slab } from './record-memory.ts';

export interface InputListener {
  /** The bytes may be overwritten after the call unless they are held; with `isLent` they cannot be held. */
  onChunk(chunk: Buffer, isLent: boolean): void;
  /** Whether the next chunks are of a body that is wanted, and so will be held. */
  readonly streams: boolean;
}

/** Reads a socket into lent memory where that works, and by 'data' events elsewhere. */
export class CallerInput {
  readonly #memory: RecordMemory | undefined;
  readonly #listener: InputListener;
  readonly #inPlace: boolean;
  #slab: Slab | undefined;
  /** Where the current read goes. */
  #target: Buffer;

  /** `memory` is absent if sockets cannot read into it. */
  constructor(socket: Socket, memory: RecordMemory | undefined, listener: InputListener) {
    this.#memory = memory;
    this.#listener = listener;
    this.#target = memory?.scratch ?? Buffer.alloc(0);
    const reads = {
      first: this.#target,
      onRead: (bytes: number) => this.#onRead(bytes),
      next: () => this.#next(),
    };
    this.#inPlace = memory !== undefined && readIntoOwn(socket, reads);
    if (!this.#inPlace) socket.on('data', (chunk: Buffer) => listener.onChunk(chunk, false));
  }

  /** Whether the bytes of a chunk are no longer where they were read to. */
  isCopy(bytes: Buffer): boolean {
    return this.#inPlace && this.#slab?.holds(bytes) !== true;
  }

  /** Size of the memory that only this caller is read into. */
  get memoryBytes(): number {
    return this.#slab?.bytes.length ?? 0;
  }

  /** Keeps the bytes until the returned function is called; undefined if no other read can overwrite them. */
  hold(bytes: Buffer): (() => void) | undefined {
    return this.#slab?.holds(bytes) === true ? this.#slab.hold() : undefined;
  }

  /** Gives the memory back; nothing more is read into it. */
  close(): void {
    this.#slab?.leave();
    this.#slab = undefined;
  }

  #onRead(bytes: number): void {
    const chunk = this.#target.subarray(0, bytes);
    const isScratch = this.#target === this.#memory?.scratch;
    if (!isScratch) this.#slab?.take(bytes);
    this.#listener.onChunk(chunk, isScratch);
  }

  #next(): Buffer {
    const memory = this.#memory;
    if (memory === undefined) return this.#target;
    if (this.#listener.streams) {
      this.#target = this.#slab?.next() ?? this.#nextSlab(memory);
    } else {
      this.close();
      this.#target = memory.scratch;
    }
    return this.#target;
  }

  #nextSlab(memory: RecordMemory): Buffer {
    this.#slab?.leave();
    this.#slab = memory.take();
    return this.#slab.next() ?? memory.scratch;
  }
}
