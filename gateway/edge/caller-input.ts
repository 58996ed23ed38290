/** What a caller sends, chunk by chunk, wherever it is read to. */

import type { Socket } from 'node:net';
import { readIntoOwn } from './own-reads.ts';
import type { RecordMemory, Slab } from './record-memory.ts';

export interface InputListener {
  /** The bytes are others' after the call, unless they are held, or `isLent` says that they cannot be. */
  onChunk(chunk: Buffer, isLent: boolean): void;
  /** The next chunks are of a body that is wanted: they will be held. */
  readonly streams: boolean;
}

/** Reads a socket into lent memory where that works, and by 'data' events where not. */
export class CallerInput {
  readonly #memory: RecordMemory | undefined;
  readonly #listener: InputListener;
  readonly #inPlace: boolean;
  #slab: Slab | undefined;
  /** Where the read under way goes. */
  #target: Buffer;

  /** `memory` is absent where sockets cannot read into it. */
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

  /** Whether the bytes of a chunk, as they are now, lie elsewhere than where they were read to. */
  isCopy(bytes: Buffer): boolean {
    return this.#inPlace && this.#slab?.holds(bytes) !== true;
  }

  /** Memory that is read to and nobody else's meanwhile. */
  get memoryBytes(): number {
    return this.#slab?.bytes.length ?? 0;
  }

  /** Keeps the bytes of the chunk until the answer is called; nothing where they are nobody else's anyway. */
  hold(bytes: Buffer): (() => void) | undefined {
    return this.#slab?.holds(bytes) === true ? this.#slab.hold() : undefined;
  }

  /** Nothing more is read. */
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
