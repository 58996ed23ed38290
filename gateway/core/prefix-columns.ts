/** Prefixes of one key width as columns of integers, and their order: what a prefix tree is built from. */

import type { Prefix } from './address.ts';

/** A piece of work that gives way now and then, so that whoever runs it can do something else in between. */
export type Steps<T> = Generator<void, T, void>;

/** Entries between two times it gives way: about a millisecond. */
export const STEP = 8192;

const DIGIT_BITS = 16;
const DIGITS = 1 << DIGIT_BITS;
/** The number of an entry shares a word with its length. */
export const MOST_NUMBER = 2 ** 24 - 1;

/** `width` words make a key; of each prefix there are its key, its length and its number. */
export class PrefixColumns {
  readonly width: number;
  #keys: Uint32Array;
  /** Number above, length in the last eight bits. */
  #info: Uint32Array;
  #count = 0;

  constructor(width: number) {
    this.width = width;
    this.#keys = new Uint32Array(16 * width);
    this.#info = new Uint32Array(16);
  }

  get count(): number {
    return this.#count;
  }

  /** Words beyond the width are zero in every prefix that belongs here. */
  add({ address, bits }: Prefix, number: number): void {
    if (this.#count === this.#info.length) this.#grow();
    const at = this.#count * this.width;
    this.#keys[at] = address.first;
    if (this.width > 1) this.#keys[at + 1] = address.second;
    if (this.width > 2) {
      this.#keys[at + 2] = address.third;
      this.#keys[at + 3] = address.fourth;
    }
    this.#info[this.#count] = (number << 8) | bits;
    this.#count += 1;
  }

  word(index: number, word: number): number {
    return this.#keys[index * this.width + word] ?? 0;
  }

  bits(index: number): number {
    return (this.#info[index] ?? 0) & 0xff;
  }

  info(index: number): number {
    return this.#info[index] ?? 0;
  }

  /** How many leading bits two entries have in common, `most` at most. */
  common(a: number, b: number, most: number): number {
    for (let word = 0; word * 32 < most; word++) {
      const differing = this.word(a, word) ^ this.word(b, word);
      if (differing !== 0) return Math.min(most, word * 32 + Math.clz32(differing));
    }
    return most;
  }

  /**
   * The entries by key, of the same key the shorter first, of the same prefix in the order they were added: a radix sort
   * from the least significant digit, whose every pass keeps the order of the one before.
   */
  *order(): Steps<Uint32Array> {
    let order = new Uint32Array(this.#count);
    for (let index = 0; index < order.length; index++) order[index] = index;
    order = yield* this.#pass(order, (index) => this.bits(index));
    for (let word = this.width - 1; word >= 0; word--) {
      order = yield* this.#pass(order, (index) => this.word(index, word) & (DIGITS - 1));
      order = yield* this.#pass(order, (index) => this.word(index, word) >>> DIGIT_BITS);
    }
    return order;
  }

  *#pass(order: Uint32Array, digitOf: (index: number) => number): Steps<Uint32Array<ArrayBuffer>> {
    const starts = new Uint32Array(DIGITS + 1);
    for (let at = 0; at < order.length; at++) {
      const digit = digitOf(order[at] ?? 0);
      starts[digit + 1] = (starts[digit + 1] ?? 0) + 1;
      if (at % STEP === STEP - 1) yield;
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
      if (at % STEP === STEP - 1) yield;
    }
    return next;
  }

  #grow(): void {
    const keys = new Uint32Array(this.#keys.length * 2);
    keys.set(this.#keys);
    this.#keys = keys;
    const info = new Uint32Array(this.#info.length * 2);
    info.set(this.#info);
    this.#info = info;
  }
}
