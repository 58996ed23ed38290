/** The records of one stream in lent cells: read side by side, passed on in as few pieces as possible. */

import { type Cell, RECORD_BYTES, type RecordBlock } from './record-block.ts';
import type { RecordMemory } from './record-memory.ts';

/** Adjacent bytes of a block. */
interface Run {
  readonly block: RecordBlock;
  readonly from: number;
  to: number;
}

export class GatheredRecords {
  readonly #memory: RecordMemory;
  /** Where records are read to, and how far it is filled. */
  #cell: Cell;
  #at = 0;
  /** Full cells that were not passed on. */
  #full: Cell[] = [];
  #runs: Run[] = [];
  #bytes = 0;

  constructor(memory: RecordMemory) {
    this.#memory = memory;
    this.#cell = memory.lend();
  }

  /** Bytes read and not passed on. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Size of the cells lent to it. */
  get memoryBytes(): number {
    return (this.#full.length + 1) * RECORD_BYTES;
  }

  /** Where the next record goes; one that does not fit is delivered in two parts. */
  next(): Buffer {
    if (this.#bytes === 0 && !this.#cell.isHeld) this.#at = 0;
    if (this.#at === RECORD_BYTES) this.#nextCell();
    return this.#at === 0 ? this.#cell.bytes : this.#cell.bytes.subarray(this.#at);
  }

  /** Records that `bytes` bytes were read to where `next` pointed. */
  take(bytes: number): void {
    const { block, index } = this.#cell;
    const from = index * RECORD_BYTES + this.#at;
    const last = this.#runs.at(-1);
    if (last?.block === block && last.to === from) last.to += bytes;
    else this.#runs.push({ block, from, to: from + bytes });
    this.#at += bytes;
    this.#bytes += bytes;
  }

  /** Passes on what was read, in order; it may be overwritten after the call unless it is held. */
  passOn(onBytes: (bytes: Buffer) => void): void {
    const [runs, full] = [this.#runs, this.#full];
    this.#runs = [];
    this.#full = [];
    this.#bytes = 0;
    for (const { block, from, to } of runs) onBytes(block.bytes.subarray(from, to));
    for (const cell of full) cell.giveBack();
  }

  /** Gives all cells back; nothing more is read into them. */
  leave(): void {
    for (const cell of this.#full) cell.giveBack();
    this.#cell.giveBack();
    this.#full = [];
    this.#runs = [];
    this.#bytes = 0;
  }

  #nextCell(): void {
    const filled = this.#cell;
    if (this.#bytes > 0) this.#full.push(filled);
    this.#cell = this.#memory.lend(filled);
    if (this.#bytes === 0) filled.giveBack();
    this.#at = 0;
  }
}
