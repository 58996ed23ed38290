/** Finds the elements that differ between two stretches of memory, at about the speed of reading both once. */

import type { ElementSize } from './scatter.ts';

/** Memory for two stretches of one tensor and for their differences. Reused from stretch to stretch. */
export class Comparison {
  readonly #before: ArrayBuffer;
  readonly #after: ArrayBuffer;
  readonly #found: Uint32Array;

  /** `maxBytes` is the length of the longest stretch, a multiple of 4. */
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

  /** The elements that changed, ascending, counted from the start of the stretch; the next call overwrites the view. */
  changed(length: number, size: ElementSize): Uint32Array {
    const words = Math.ceil(length / 4);
    const before = new Uint32Array(this.#before, 0, words);
    const after = new Uint32Array(this.#after, 0, words);
    const count = changedWords(before, after, this.#found);
    return this.#found.subarray(0, size === 4 ? count : this.#split(count, size));
  }

  /** Replaces changed words by the changed elements in them, last to first, so that both fit into one array. */
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

/** Zeroes the word the stretch ends in, so that both sides agree after their last byte. */
function stretch(memory: ArrayBuffer, length: number): Buffer {
  if (length % 4 !== 0) new Uint32Array(memory)[Math.floor(length / 4)] = 0;
  return Buffer.from(memory, 0, length);
}

/** Puts the numbers of the words that differ into `found` and returns how many there are. */
export function changedWords(before: Uint32Array, after: Uint32Array, found: Uint32Array): number {
  let count = 0;
  for (let at = 0; at < before.length; at++) {
    if (before[at] !== after[at]) found[count++] = at;
  }
  return count;
}
