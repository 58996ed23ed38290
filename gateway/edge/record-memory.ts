/** Memory that the records of callers are read into, instead of a new buffer for each. */

import { MIB } from '../core/units.ts';
import type { Log } from '../observe/log.ts';
import { ownReadsWork } from './own-reads.ts';
import { type Cell, RECORD_BYTES, RecordBlock } from './record-block.ts';

/** Blocks kept although no cell of theirs is used; further ones are left to the garbage collector. */
const KEPT_BLOCKS = 4;
/** With more than this on its way out, nodes are slow. */
const CROWDED_BYTES = MIB;

/** Shared by all connections of a process. */
export class RecordMemory {
  /** Heads are read into it, one connection at a time; what is kept beyond the call is copied. */
  readonly scratch = Buffer.allocUnsafeSlow(RECORD_BYTES);
  readonly #blocks = new Map<ArrayBufferLike, RecordBlock>();
  #reader: RecordReader | undefined;

  /** Bytes of all blocks. */
  get byteLength(): number {
    return [...this.#blocks.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /** Whether streams should gather as little as they can. */
  get isCrowded(): boolean {
    let held = 0;
    for (const block of this.#blocks.values()) held += block.heldBytes;
    return held > CROWDED_BYTES;
  }

  /**
   * To be called at each read into cells. What another connection gathered leaves first: libuv reads one connection
   * after the other, so all together need little more memory than one of them.
   */
  readsInto(reader: RecordReader): void {
    if (reader === this.#reader) return;
    this.#reader?.sendGathered();
    this.#reader = reader;
  }

  /** The reader reads no more. */
  forget(reader: RecordReader): void {
    if (reader === this.#reader) this.#reader = undefined;
  }

  /** Lends a cell, the one behind `last` if it is free, until `giveBack`. */
  lend(last?: Cell): Cell {
    const cell = last?.block.freeBehind(last) ?? this.#firstFree();
    cell.lend();
    return cell;
  }

  /** Whether these bytes are in a cell. */
  holds({ buffer }: Buffer): boolean {
    return this.#blocks.has(buffer);
  }

  /** Keeps bytes in cells until the returned function is called, once; undefined if they are elsewhere. */
  hold(bytes: Buffer): (() => void) | undefined {
    return this.#blocks.get(bytes.buffer)?.hold(bytes);
  }

  #firstFree(): Cell {
    for (const block of this.#blocks.values()) {
      const cell = block.firstFree();
      if (cell !== undefined) return cell;
    }
    const block = new RecordBlock((unused) => this.#onUnused(unused));
    this.#blocks.set(block.bytes.buffer, block);
    return block.cells[0];
  }

  #onUnused(block: RecordBlock): void {
    if (this.#blocks.size > KEPT_BLOCKS) this.#blocks.delete(block.bytes.buffer);
  }
}

/** A connection that gathers what is read into cells. */
export interface RecordReader {
  /** Passes on what was gathered, and has it written. */
  sendGathered(): void;
}

/** Resolves to undefined, and logs a warning, if reading in place does not work on this Node. */
export async function createRecordMemory(log: Log): Promise<RecordMemory | undefined> {
  if (await ownReadsWork()) return new RecordMemory();
  log.warn({}, 'reading in place does not work on this Node; each read allocates a buffer');
  return undefined;
}
