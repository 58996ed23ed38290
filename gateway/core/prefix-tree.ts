/** The address lists: a path-compressed radix tree over prefixes that answers with the longest match. */

import type { Address, Prefix } from './address.ts';

/** Immutable once built. A lookup visits the nested prefixes and the branches on its way, nothing else. */
export interface PrefixTree<T> {
  /** Distinct prefixes. */
  readonly size: number;
  /** The value of the longest prefix that holds the address. */
  lookup(address: Address): T | undefined;
  /** Whether any prefix holds the address. */
  contains(address: Address): boolean;
}

/** One entry of a list. */
export interface PrefixEntry<T> {
  readonly prefix: Prefix;
  readonly value: T;
}

/** Builds the tree; of several entries with the same prefix the first one counts. */
export function buildPrefixTree<T>(entries: Iterable<PrefixEntry<T>>): PrefixTree<T> {
  const all = [...entries];
  const values: T[] = [];
  const fours = all.filter(({ prefix }) => prefix.address.family === 4);
  const four = new RadixTree(1, fours.length);
  const six = new RadixTree(4, all.length - fours.length);
  for (const { prefix, value } of all) {
    const tree = prefix.address.family === 4 ? four : six;
    if (tree.insert(prefix.address.words, prefix.bits, values.length + 1)) values.push(value);
  }
  four.seal();
  six.seal();
  return new TwoFamilies(four, six, values);
}

class TwoFamilies<T> implements PrefixTree<T> {
  readonly #four: RadixTree;
  readonly #six: RadixTree;
  readonly #values: readonly T[];

  constructor(four: RadixTree, six: RadixTree, values: readonly T[]) {
    this.#four = four;
    this.#six = six;
    this.#values = values;
  }

  get size(): number {
    return this.#values.length;
  }

  lookup(address: Address): T | undefined {
    const value = this.#find(address);
    return value === NO_VALUE ? undefined : this.#values[value - 1];
  }

  contains(address: Address): boolean {
    return this.#find(address) !== NO_VALUE;
  }

  #find(address: Address): number {
    const { words } = address;
    return address.family === 4 ? this.#four.findWord(words[0] ?? 0) : this.#six.findWords(words);
  }
}

/** Node 0 is the root, which is nobody's child: 0 in a child's place says there is none. */
const ROOT = 0;
/** Values count from 1: 0 says there is none. */
const NO_VALUE = 0;
/** Where in a node its parts are; the words of its key follow. */
const BITS = 0;
const VALUE = 1;
const CHILDREN = 2;
const KEY = 4;

/**
 * All nodes side by side in one array, so that a node is one cache line and 100,000 prefixes are one object. A node is a
 * prefix: a given one, which has a value, or the longest common beginning of two others. It goes by the place of its
 * first word. Its children go on with a 0 or a 1 bit.
 *
 * 10.0.0.0/8, 10.1.0.0/16 and 10.2.0.0/16 make: root → 10.0.0.0/8 (value) → 10.0.0.0/14 (branch) → the two /16.
 */
class RadixTree {
  readonly #width: number;
  #nodes: Uint32Array;
  #end: number;

  /** `width` words make a key; each of `most` prefixes needs two nodes at most, and the root is one more. */
  constructor(width: number, most: number) {
    this.#width = width;
    this.#end = KEY + width;
    this.#nodes = new Uint32Array((most * 2 + 1) * this.#end);
  }

  /** Gives back the room for branches that were not needed. */
  seal(): void {
    this.#nodes = this.#nodes.slice(0, this.#end);
  }

  /** False when the prefix has a value already. */
  insert(key: readonly number[], bits: number, value: number): boolean {
    let node = ROOT;
    while (this.#at(node + BITS) < bits) {
      const slot = this.#slot(node, key);
      const child = this.#at(slot);
      if (child === ROOT) {
        this.#nodes[slot] = this.#add(key, bits, value);
        return true;
      }
      const childBits = this.#at(child + BITS);
      const common = this.#commonBits(child, key, Math.min(bits, childBits));
      node = common === childBits ? child : this.#branch(slot, child, common);
    }
    if (this.#at(node + VALUE) !== NO_VALUE) return false;
    this.#nodes[node + VALUE] = value;
    return true;
  }

  /** The value of the longest prefix of an IPv4 address, or `NO_VALUE`; the search below, made for one word. */
  findWord(word: number): number {
    const nodes = this.#nodes;
    let best = nodes[ROOT + VALUE] ?? NO_VALUE;
    let node = nodes[ROOT + CHILDREN + (word >>> 31)] ?? ROOT;
    while (node !== ROOT) {
      const bits = nodes[node + BITS] ?? 0;
      // No child has 0 bits, so the shift is 0 to 31.
      if (((nodes[node + KEY] ?? 0) ^ word) >>> (32 - bits) !== 0) return best;
      best = nodes[node + VALUE] || best;
      if (bits === 32) return best;
      node = nodes[node + CHILDREN + ((word >>> (31 - bits)) & 1)] ?? ROOT;
    }
    return best;
  }

  /** The value of the longest prefix of an IPv6 address, or `NO_VALUE`. */
  findWords(key: readonly number[]): number {
    let best = this.#at(ROOT + VALUE);
    let node = this.#at(this.#slot(ROOT, key));
    while (node !== ROOT) {
      const bits = this.#at(node + BITS);
      if (this.#commonBits(node, key, bits) < bits) return best;
      best = this.#at(node + VALUE) || best;
      if (bits === 128) return best;
      node = this.#at(this.#slot(node, key));
    }
    return best;
  }

  #at(place: number): number {
    return this.#nodes[place] ?? 0;
  }

  /** Where the child of `node` on the way to `key` is noted. */
  #slot(node: number, key: readonly number[]): number {
    const bit = this.#at(node + BITS);
    return node + CHILDREN + (((key[bit >>> 5] ?? 0) >>> (31 - (bit & 31))) & 1);
  }

  /** How many of the first `most` bits of the node's key and of `key` agree. */
  #commonBits(node: number, key: readonly number[], most: number): number {
    for (let word = 0; word * 32 < most; word++) {
      const differing = this.#at(node + KEY + word) ^ (key[word] ?? 0);
      if (differing !== 0) return Math.min(most, word * 32 + Math.clz32(differing));
    }
    return most;
  }

  #add(key: readonly number[], bits: number, value: number): number {
    const node = this.#end;
    this.#nodes[node + BITS] = bits;
    this.#nodes[node + VALUE] = value;
    this.#nodes.set(key, node + KEY);
    this.#end += KEY + this.#width;
    return node;
  }

  /** Puts a node of `bits` bits between the slot and the child in it; its key is the child's, longer than it needs. */
  #branch(slot: number, child: number, bits: number): number {
    const key = [...this.#nodes.subarray(child + KEY, child + KEY + this.#width)];
    const node = this.#add(key, bits, NO_VALUE);
    this.#nodes[slot] = node;
    this.#nodes[this.#slot(node, key)] = child;
    return node;
  }
}
