/** One level of a prefix tree: prefixes that do not contain each other, found by a radix root and a short search. */

import type { Address } from './address.ts';
import { type PrefixColumns, SLICE, type SlicedWork } from './prefix-columns.ts';

/** Average number of entries that share a branch of the root, which then takes two bytes per entry. */
const ENTRIES_A_BRANCH = 2;
const MAX_ROOT_BITS = 18;
/** Returned if no entry contains the address. */
export const NONE = -1;

/** A level as plain data. */
export interface LevelTables {
  /** Words of a key. */
  readonly width: number;
  readonly skip: number;
  readonly rootBits: number;
  readonly entries: Uint32Array;
  readonly root: Uint32Array;
}

/**
 * Sorted entries and, over them, a root with a branch for each value of the bits in which the keys begin to differ. No
 * prefix contains another, so only the last entry whose key is not above an address can contain it. An entry is its key
 * followed by its number and length, so that what is read together lies together: a lookup waits for memory only twice,
 * for its branch and for its entries.
 */
export class PrefixLevel {
  /** A `PrefixLevel` over the same tables, in any process, gives the same results. */
  readonly tables: LevelTables;
  readonly #width: number;
  readonly #entries: Uint32Array;
  /** Leading bits that all prefixes, and so all addresses they contain, have in common. */
  readonly #skip: number;
  readonly #rootBits: number;
  /** The index of the first entry of each branch, followed by the number of entries. */
  readonly #root: Uint32Array;

  constructor(tables: LevelTables) {
    this.tables = tables;
    this.#width = tables.width;
    this.#entries = tables.entries;
    this.#skip = tables.skip;
    this.#rootBits = tables.rootBits;
    this.#root = tables.root;
  }

  /** `members` are entries of the columns, in order, none of them contained in another. */
  static *build(columns: PrefixColumns, members: Uint32Array): SlicedWork<PrefixLevel> {
    const { width } = columns;
    const entries = new Uint32Array(members.length * (width + 1));
    const first = members[0] ?? 0;
    let skip = width * 32;
    for (let at = 0, to = 0; at < members.length; at++) {
      const member = members[at] ?? 0;
      for (let word = 0; word < width; word++) entries[to++] = columns.word(member, word);
      entries[to++] = columns.info(member);
      skip = columns.common(first, member, Math.min(skip, columns.bits(member)));
      if (at % SLICE === SLICE - 1) yield;
    }
    const rootBits = Math.max(
      1,
      Math.min(MAX_ROOT_BITS, Math.floor(Math.log2(members.length / ENTRIES_A_BRANCH))),
    );
    // The bits of a branch must lie within the key.
    skip = Math.min(skip, width * 32 - rootBits);
    const root = new Uint32Array(2 ** rootBits + 1);
    const level = new PrefixLevel({ width, skip, rootBits, entries, root });
    yield* level.#fillRoot();
    return level;
  }

  get size(): number {
    return this.#entries.length / (this.#width + 1);
  }

  get byteLength(): number {
    return this.#entries.byteLength + this.#root.byteLength;
  }

  /** The words of a key, and its info as in the columns. */
  entry(index: number): { readonly words: readonly number[]; readonly info: number } {
    const at = index * (this.#width + 1);
    const end = at + this.#width;
    return { words: [...this.#entries.subarray(at, end)], info: this.#entries[end] ?? 0 };
  }

  /** The info, as in the columns, of the prefix that contains the address, which must be of its family; or `NONE`. */
  find(address: Address): number {
    const last = this.#lastNotAbove(address);
    if (last < 0) return NONE;
    const at = last * (this.#width + 1);
    const info = this.#entries[at + this.#width] ?? 0;
    const bits = info & 0xff;
    const differing = (this.#entries[at] ?? 0) ^ address.first;
    const holds =
      bits <= 32
        ? bits === 0 || differing >>> (32 - bits) === 0
        : differing === 0 && this.#holdsBehindFirst(at, bits, address);
    return holds ? info : NONE;
  }

  #lastNotAbove(address: Address): number {
    if (this.#width === 1) return this.#lastOfOneWord(address);
    return this.#width === 2 ? this.#lastOfTwoWords(address) : this.#lastOfFourWords(address);
  }

  /**
   * The last entry whose key is not above the address: one of the branch, or the one before it. Each step halves the
   * range and moves to the upper half by addition, not by a branch: random addresses go either way, and a mispredicted
   * branch costs more than the step. `half & -1` is `half`, `half & -0` is 0.
   */
  #lastOfOneWord({ first }: Address): number {
    const entries = this.#entries;
    const branch = (first << this.#skip) >>> (32 - this.#rootBits);
    const word = first >>> 0;
    let last = (this.#root[branch] ?? 0) - 1;
    let left = (this.#root[branch + 1] ?? 0) - last;
    while (left > 1) {
      const half = left >>> 1;
      last += half & -Number((entries[(last + half) * 2] ?? 0) <= word);
      left -= half;
    }
    return last;
  }

  #lastOfTwoWords({ first, second }: Address): number {
    const entries = this.#entries;
    const branch = this.#branchOf(first, second, 0, 0);
    const high = first >>> 0;
    const low = second >>> 0;
    let last = (this.#root[branch] ?? 0) - 1;
    let left = (this.#root[branch + 1] ?? 0) - last;
    while (left > 1) {
      const half = left >>> 1;
      const at = (last + half) * 3;
      const key = entries[at] ?? 0;
      const isLowNotAbove = Number(key === high) & Number((entries[at + 1] ?? 0) <= low);
      last += half & -(Number(key < high) | isLowNotAbove);
      left -= half;
    }
    return last;
  }

  #lastOfFourWords(address: Address): number {
    const branch = this.#branchOf(address.first, address.second, address.third, address.fourth);
    let last = (this.#root[branch] ?? 0) - 1;
    let left = (this.#root[branch + 1] ?? 0) - last;
    while (left > 1) {
      const half = left >>> 1;
      if (!this.#isAbove((last + half) * 5, address)) last += half;
      left -= half;
    }
    return last;
  }

  *#fillRoot(): SlicedWork<void> {
    const { size } = this;
    const stride = this.#width + 1;
    let branch = 0;
    for (let at = 0; at < size; at++) {
      const from = at * stride;
      const word = (index: number): number => (index < this.#width ? (this.#entries[from + index] ?? 0) : 0);
      for (const until = this.#branchOf(word(0), word(1), word(2), word(3)); branch < until; )
        this.#root[++branch] = at;
      if (at % SLICE === SLICE - 1) yield;
    }
    while (branch < this.#root.length - 1) this.#root[++branch] = size;
  }

  /** The bits behind the common ones: with skip 28 and 8 root bits, the last 4 of `first`, the first 4 of `second`. */
  #branchOf(first: number, second: number, third: number, fourth: number): number {
    const skip = this.#skip;
    let high = first;
    let low = second;
    if (skip >= 32) {
      high = skip < 64 ? second : skip < 96 ? third : fourth;
      low = skip < 64 ? third : skip < 96 ? fourth : 0;
    }
    const shift = skip & 31;
    // In two steps, because a shift by 32 is a shift by 0.
    return ((high << shift) | ((low >>> 1) >>> (31 - shift))) >>> (32 - this.#rootBits);
  }

  #isAbove(at: number, { first, second, third, fourth }: Address): boolean {
    const entries = this.#entries;
    if (entries[at] !== first >>> 0) return (entries[at] ?? 0) > first >>> 0;
    if (entries[at + 1] !== second >>> 0) return (entries[at + 1] ?? 0) > second >>> 0;
    if (entries[at + 2] !== third >>> 0) return (entries[at + 2] ?? 0) > third >>> 0;
    return (entries[at + 3] ?? 0) > fourth >>> 0;
  }

  #holdsBehindFirst(at: number, bits: number, { second, third, fourth }: Address): boolean {
    const entries = this.#entries;
    if (differ(entries[at + 1] ?? 0, second, bits - 32)) return false;
    if (bits > 64 && differ(entries[at + 2] ?? 0, third, bits - 64)) return false;
    return bits <= 96 || !differ(entries[at + 3] ?? 0, fourth, bits - 96);
  }
}

/** Whether two words differ in their first `bits` bits (1 or more; 32 at most count): 6 and 7 do for 32, not for 31. */
function differ(one: number, other: number, bits: number): boolean {
  return (one ^ other) >>> Math.max(0, 32 - bits) !== 0;
}
