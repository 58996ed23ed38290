/** One level of a prefix tree: prefixes of which none holds another, found by a radix root and a short search. */

import { type PrefixColumns, STEP, type Steps } from './prefix-columns.ts';

/** Entries that share a branch of the root, on average: the root takes a byte for each entry then. */
const ENTRIES_A_BRANCH = 4;
const MOST_ROOT_BITS = 18;
/** No entry holds the address. */
export const NONE = -1;

/**
 * Sorted keys and, over them, a root with a branch for each value of the bits in which the keys begin to differ. As no
 * prefix holds another, the one that may hold an address is the last whose key is not above it.
 */
export class PrefixLevel {
  readonly #width: number;
  readonly #keys: Uint32Array;
  readonly #info: Uint32Array;
  /** Leading bits all prefixes, and so all addresses they hold, have in common. */
  readonly #skip: number;
  readonly #rootBits: number;
  /** Where the entries of each branch begin, and at the end how many there are. */
  readonly #root: Uint32Array;

  private constructor(width: number, keys: Uint32Array, info: Uint32Array, skip: number, rootBits: number) {
    this.#width = width;
    this.#keys = keys;
    this.#info = info;
    this.#skip = skip;
    this.#rootBits = rootBits;
    this.#root = new Uint32Array(2 ** rootBits + 1);
  }

  /** `members` are entries of the columns, in order, none of them in another. */
  static *build(columns: PrefixColumns, members: Uint32Array): Steps<PrefixLevel> {
    const { width } = columns;
    const keys = new Uint32Array(members.length * width);
    const info = new Uint32Array(members.length);
    const first = members[0] ?? 0;
    let skip = width * 32;
    for (let at = 0; at < members.length; at++) {
      const member = members[at] ?? 0;
      for (let word = 0; word < width; word++) keys[at * width + word] = columns.word(member, word);
      info[at] = columns.info(member);
      skip = columns.common(first, member, Math.min(skip, columns.bits(member)));
      if (at % STEP === STEP - 1) yield;
    }
    const rootBits = Math.max(
      1,
      Math.min(MOST_ROOT_BITS, Math.floor(Math.log2(members.length / ENTRIES_A_BRANCH))),
    );
    // The bits of a branch have to lie within the key.
    const level = new PrefixLevel(width, keys, info, Math.min(skip, width * 32 - rootBits), rootBits);
    yield* level.#fillRoot();
    return level;
  }

  get size(): number {
    return this.#info.length;
  }

  get byteLength(): number {
    return this.#keys.byteLength + this.#info.byteLength + this.#root.byteLength;
  }

  /** The words of a key, and its number and length as in the columns. */
  entry(index: number): { readonly words: readonly number[]; readonly info: number } {
    const at = index * this.#width;
    return { words: [...this.#keys.subarray(at, at + this.#width)], info: this.#info[index] ?? 0 };
  }

  /** Number and length of the prefix that holds an IPv4 address, as in the columns, or `NONE`. */
  findWord(word: number): number {
    const keys = this.#keys;
    const branch = (word << this.#skip) >>> (32 - this.#rootBits);
    let low = this.#root[branch] ?? 0;
    let high = this.#root[branch + 1] ?? 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((keys[middle] ?? 0) <= word) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return NONE;
    const info = this.#info[low - 1] ?? 0;
    const bits = info & 0xff;
    return bits === 0 || ((keys[low - 1] ?? 0) ^ word) >>> (32 - bits) === 0 ? info : NONE;
  }

  /** The same for keys of any width. */
  findWords(words: readonly number[]): number {
    const branch = this.#branchOf(words);
    let low = this.#root[branch] ?? 0;
    let high = this.#root[branch + 1] ?? 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isAbove(middle, words)) high = middle;
      else low = middle + 1;
    }
    return low > 0 && this.#holds(low - 1, words) ? (this.#info[low - 1] ?? 0) : NONE;
  }

  *#fillRoot(): Steps<void> {
    const words = new Array<number>(this.#width).fill(0);
    let branch = 0;
    for (let at = 0; at < this.size; at++) {
      for (let word = 0; word < this.#width; word++) words[word] = this.#keys[at * this.#width + word] ?? 0;
      for (const until = this.#branchOf(words); branch < until; ) this.#root[++branch] = at;
      if (at % STEP === STEP - 1) yield;
    }
    while (branch < this.#root.length - 1) this.#root[++branch] = this.size;
  }

  /** The bits behind the common ones; they may lie across two words. */
  #branchOf(words: readonly number[]): number {
    const word = this.#skip >>> 5;
    const shift = this.#skip & 31;
    const high = ((words[word] ?? 0) << shift) >>> 0;
    const low = shift === 0 ? 0 : (words[word + 1] ?? 0) >>> (32 - shift);
    return (high | low) >>> (32 - this.#rootBits);
  }

  #isAbove(entry: number, words: readonly number[]): boolean {
    for (let word = 0, at = entry * this.#width; word < this.#width; word++, at++) {
      const key = this.#keys[at] ?? 0;
      const own = words[word] ?? 0;
      if (key !== own) return key > own;
    }
    return false;
  }

  #holds(entry: number, words: readonly number[]): boolean {
    const bits = (this.#info[entry] ?? 0) & 0xff;
    for (let word = 0, at = entry * this.#width; word * 32 < bits; word++, at++) {
      const differing = (this.#keys[at] ?? 0) ^ (words[word] ?? 0);
      const left = bits - word * 32;
      if (differing !== 0 && (left >= 32 || differing >>> (32 - left) !== 0)) return false;
    }
    return true;
  }
}
