/** Finds the elements that differ between two stretches of memory, at about the speed of reading both once. */

import type { ElementSize } from './scatter.ts';

/** Two stretches of one tensor that are compared, and room for what is found. Reused from stretch to stretch. */
export class Comparison {
  readonly #before: ArrayBuffer;
  readonly #after: ArrayBuffer;
  readonly #found: Uint32Array;

  /** `maxBytes` is the longest stretch; a multiple of 4. */
  constructor(maxBytes: number) {
    this.#before = new ArrayBuffer(maxBytes);
    this.#after = new ArrayBuffer(maxBytes);
    this.#found = new Uint32Array(maxBytes);
  }

  /** Memory to be filled with `length` bytes of the old tensor. */
  before(length: number): Buffer {
    return stretch(this.#before, length);
  }

  /** Memory to be filled with `length` bytes of the new tensor. */
  after(length: number): Buffer {
    return stretch(this.#after, length);
  }

  /** The elements that changed, rising, counted from the first of the stretch; a view that the next call overwrites. */
  changed(length: number, size: ElementSize): Uint32Array {
    const words = Math.ceil(length / 4);
    const before = new Uint32Array(this.#before, 0, words);
    const after = new Uint32Array(this.#after, 0, words);
    const count = changedWords(before, after, this.#found);
    return this.#found.subarray(0, size === 4 ? count : this.#split(count, size));
  }

  /** From changed words to the elements in them, from the last to the first, so that both fit into one memory. */
  #split(count: number, size: 1 | 2): number {
    const found = this.#found;
    const perWord = 4 / size;
    const before = size === 2 ? new Uint16Array(this.#before) : new Uint8Array(this.#before);
    const after = size === 2 ? new Uint16Array(this.#after) : new Uint8Array(this.#after);
    const end = found.length;
    let at = end;
    for (let k = count - 1; k >= 0; k--) {
      const first = (found[k] as number) * perWord;
      for (let element = first + perWord - 1; element >= first; element--) {
        if (before[element] !== after[element]) found[--at] = element;
      }
    }
    found.copyWithin(0, at, end);
    return end - at;
  }
}

/** The stretch, with the word it ends in zeroed first: both sides agree behind their last byte. */
function stretch(memory: ArrayBuffer, length: number): Buffer {
  if (length % 4 !== 0) new Uint32Array(memory)[Math.floor(length / 4)] = 0;
  return Buffer.from(memory, 0, length);
}

/** Numbers of the words that differ, put into `found`; gives back how many. */
export function changedWords(before: Uint32Array, after: Uint32Array, found: Uint32Array): number {
  let count = 0;
  for (let at = 0; at < before.length; at++) {
    if (before[at] !== after[at]) found[count++] = at;
  }
  return count;
}
