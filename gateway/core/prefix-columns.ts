/** Prefixes of one key width as columns of integers, and their sort order: the input of a prefix tree. */

import type { Prefix } from './address.ts';

/** Work that yields now and then, so that its runner can do something else in between. */
export type SlicedWork<T> = Generator<void, T, void>;

/** Entries between two yields: a fraction of a millisecond. */
export const SLICE = 2048;

const DIGIT_BITS = 16;
const DIGITS = 1 << DIGIT_BITS;
/** Up to this many are sorted by comparison, in one step: a radix sort counts all its digits even for one entry. */
const FEW = 1024;
/** The number of an entry shares a word with its length. */
export const MAX_NUMBER = 2 ** 24 - 1;

/** Entries are stored in blocks of 2^13, which never move: moving a million entries at once takes too long. */
const BLOCK_BITS = 13;
const BLOCK = 1 << BLOCK_BITS;

/** Key, length and number of each prefix; a key has `width` words. */
export class PrefixColumns {
  readonly width: number;
  /** For each entry its key, then its info, number << 8 | length: number 5 and length 24 give 0x518. */
  readonly #blocks: Uint32Array[] = [];
  #count = 0;

  constructor(width: number) {
    this.width = width;
  }

  get count(): number {
    return this.#count;
  }

  /** The words of the address beyond the width must be zero. */
  add({ address, bits }: Prefix, number: number): void {
    const stride = this.width + 1;
    const index = this.#count++;
    if (index >>> BLOCK_BITS === this.#blocks.length) this.#blocks.push(new Uint32Array(BLOCK * stride));
    const block = this.#blockOf(index);
    const at = (index & (BLOCK - 1)) * stride;
    block[at] = address.first;
    if (this.width > 1) block[at + 1] = address.second;
    if (this.width > 2) block[at + 2] = address.third;
    if (this.width > 2) block[at + 3] = address.fourth;
    block[at + this.width] = (number << 8) | bits;
  }

  word(index: number, word: number): number {
    return this.#blockOf(index)[(index & (BLOCK - 1)) * (this.width + 1) + word] ?? 0;
  }

  bits(index: number): number {
    return this.info(index) & 0xff;
  }

  info(index: number): number {
    return this.word(index, this.width);
  }

  /** The number of leading bits two entries have in common, at most `most`. */
  common(a: number, b: number, most: number): number {
    for (let word = 0; word * 32 < most; word++) {
      const differing = this.word(a, word) ^ this.word(b, word);
      if (differing !== 0) return Math.min(most, word * 32 + Math.clz32(differing));
    }
    return most;
  }

  /** The entries by key, then by length, shorter first, then in the order they were added. */
  *order(): SlicedWork<Uint32Array> {
    let order = new Uint32Array(this.#count);
    for (let index = 0; index < order.length; index++) {
      order[index] = index;
      if (index % SLICE === SLICE - 1) yield;
    }
    if (order.length <= FEW) return order.sort((a, b) => this.#compare(a, b));
    // A radix sort from the least significant digit; every pass is stable.
    order = yield* this.#pass(order, (index) => this.bits(index));
    for (let word = this.width - 1; word >= 0; word--) {
      order = yield* this.#pass(order, (index) => this.word(index, word) & (DIGITS - 1));
      order = yield* this.#pass(order, (index) => this.word(index, word) >>> DIGIT_BITS);
    }
    return order;
  }

  #compare(a: number, b: number): number {
    for (let word = 0; word < this.width; word++) {
      const difference = this.word(a, word) - this.word(b, word);
      if (difference !== 0) return difference;
    }
    return this.bits(a) - this.bits(b) || a - b;
  }

  *#pass(order: Uint32Array, digitOf: (index: number) => number): SlicedWork<Uint32Array<ArrayBuffer>> {
    const starts = new Uint32Array(DIGITS + 1);
    for (let at = 0; at < order.length; at++) {
      const digit = digitOf(order[at] ?? 0);
      starts[digit + 1] = (starts[digit + 1] ?? 0) + 1;
      if (at % SLICE === SLICE - 1) yield;
    }
    for (let digit = 0; digit < DIGITS; digit++) {
      starts[digit + 1] = (starts[digit + 1] ?? 0) + (starts[digit] ?? 0);
    }
    const next = new Uint32Array(order.length);
    for (let at = 0; at < order.length; at++) {
      const index = order[at] ?? 0;
      const digit = digitOf(index);
      const place = starts[digit] ?? 0;
      starts[digit] = place + 1;
      next[place] = index;
      if (at % SLICE === SLICE - 1) yield;
    }
    return next;
  }

  #blockOf(index: number): Uint32Array {
    return this.#blocks[index >>> BLOCK_BITS] as Uint32Array;
  }
}
