/** Delivers what a caller sends, chunk by chunk, from whichever memory it is read into. */

import type { Socket } from 'node:net';
import { deliverAtTurnEnd, writeGathered } from '../net/turn-end.ts';
import type { CallerContext } from './caller-context.ts';
import { GatheredRecords } from './gathered-records.ts';
import { readIntoOwn } from './own-reads.ts';
import type { RecordMemory, RecordReader } from './record-memory.ts';

export interface InputListener {
  /** The bytes may be overwritten after the call unless they are held; with `isLent` they cannot be held. */
  onChunk(chunk: Buffer, isLent: boolean): void;
  /** Bytes that may be gathered before they are passed on; 0 if the next ones are not of a body that is wanted. */
  readonly gatherBytes: number;
}

/** What a slow stream gathers before it is passed on. */
const SLOW_BYTES = 64 * 1024;

/** Reads a socket into lent memory where that works, and by 'data' events elsewhere. */
export class CallerInput implements RecordReader {
  readonly #memory: RecordMemory | undefined;
  readonly #listener: InputListener;
  readonly #inPlace: boolean;
  /** What may be gathered before it is passed on: more and more while the stream flows, up to the most. */
  readonly #mostBytes: number;
  #enoughBytes: number;
  /** Bytes of the body read since what was read last was written. */
  #unwrittenBytes = 0;
  /** The records of a body; absent while none is read. */
  #records: GatheredRecords | undefined;
  /** Where the current read goes. */
  #target: Buffer;
  #deliversSoon = false;

  /** `memory` is absent if sockets cannot read into it. */
  constructor(
    socket: Socket,
    { memory, maxGatheredBytes }: Pick<CallerContext, 'memory' | 'maxGatheredBytes'>,
    listener: InputListener,
  ) {
    this.#memory = memory;
    this.#mostBytes = maxGatheredBytes;
    this.#enoughBytes = this.#slowBytes;
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
    return this.#inPlace && this.#memory?.holds(bytes) !== true;
  }

  /** Size of the memory that only this caller is read into. */
  get memoryBytes(): number {
    return this.#records?.memoryBytes ?? 0;
  }

  /** Keeps the bytes until the returned function is called; undefined if no other read can overwrite them. */
  hold(bytes: Buffer): (() => void) | undefined {
    return this.#memory?.hold(bytes);
  }

  /** Passes on the records that were gathered. */
  deliver(): void {
    this.#records?.passOn(this.#onBytes);
  }

  sendGathered(): void {
    this.#unwrittenBytes = 0;
    this.deliver();
    writeGathered();
  }

  /** Gives the memory back; nothing more is read into it. */
  close(): void {
    if (this.#records === undefined) return;
    this.#records.leave();
    this.#records = undefined;
    this.#memory?.forget(this);
  }

  /** Node delivers record by record; those of a body are gathered while the turn of the event loop lasts. */
  #onRead(bytes: number): void {
    const records = this.#records;
    if (records === undefined) {
      this.#listener.onChunk(this.#target.subarray(0, bytes), true);
      return;
    }
    this.#memory?.readsInto(this);
    if (this.#unwrittenBytes === 0 && this.#memory?.isCrowded === true) this.#enoughBytes = this.#slowBytes;
    records.take(bytes);
    this.#unwrittenBytes += bytes;
    if (records.bytes >= this.#listener.gatherBytes) this.deliver();
    if (this.#unwrittenBytes >= this.#enoughBytes) this.#sendEarly();
    else this.#deliverSoon();
  }

  get #slowBytes(): number {
    return Math.min(SLOW_BYTES, this.#mostBytes);
  }

  #sendEarly(): void {
    this.#enoughBytes = Math.min(this.#mostBytes, this.#enoughBytes * 2);
    this.sendGathered();
  }

  readonly #onBytes = (bytes: Buffer): void => this.#listener.onChunk(bytes, false);

  #deliverSoon(): void {
    if (this.#deliversSoon) return;
    this.#deliversSoon = true;
    deliverAtTurnEnd(this.#deliverNow);
  }

  readonly #deliverNow = (): void => {
    this.#deliversSoon = false;
    this.#unwrittenBytes = 0;
    this.deliver();
  };

  #next(): Buffer {
    const memory = this.#memory;
    if (memory === undefined) return this.#target;
    if (this.#listener.gatherBytes > 0) {
      this.#records ??= new GatheredRecords(memory);
      this.#target = this.#records.next();
    } else {
      this.close();
      this.#enoughBytes = this.#slowBytes;
      this.#target = memory.scratch;
    }
    return this.#target;
  }
}
