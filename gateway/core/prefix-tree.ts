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
    if (tree.insert(prefix.address.words, prefix.bits, values.length)) values.push(value);
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
    return value === NO_VALUE ? undefined : this.#values[value];
  }

  contains(address: Address): boolean {
    return this.#find(address) !== NO_VALUE;
  }

  #find(address: Address): number {
    const { words } = address;
    return address.family === 4 ? this.#four.findWord(words[0] ?? 0) : this.#six.findWords(words);
  }
}

const NO_VALUE = -1;
/** Node 0 is the root, which is nobody's child: 0 in a child's place says there is none. */
const ROOT = 0;

/**
 * Nodes in typed arrays, so that 100,000 prefixes are a handful of objects. A node is a prefix: a given one, which has
 * a value, or the longest common beginning of two others. Its children go on with a 0 or a 1 bit.
 *
 * 10.0.0.0/8, 10.1.0.0/16 and 10.2.0.0/16 make: root → 10.0.0.0/8 (value) → 10.0.0.0/14 (branch) → the two /16.
 */
class RadixTree {
  readonly #width: number;
  #keys: Uint32Array;
  #bits: Uint8Array;
  #children: Int32Array;
  #values: Int32Array;
  #count = 1;

  /** `width` words make a key; each of `most` prefixes needs two nodes at most, and the root is one more. */
  constructor(width: number, most: number) {
    const nodes = most * 2 + 1;
    this.#width = width;
    this.#keys = new Uint32Array(nodes * width);
    this.#bits = new Uint8Array(nodes);
    this.#children = new Int32Array(nodes * 2);
    this.#values = new Int32Array(nodes).fill(NO_VALUE);
  }

  /** Gives back the room for branches that were not needed. */
  seal(): void {
    this.#keys = this.#keys.slice(0, this.#count * this.#width);
    this.#bits = this.#bits.slice(0, this.#count);
    this.#children = this.#children.slice(0, this.#count * 2);
    this.#values = this.#values.slice(0, this.#count);
  }

  /** False when the prefix has a value already. */
  insert(key: readonly number[], bits: number, value: number): boolean {
    let node = ROOT;
    while (this.#bitsOf(node) < bits) {
      const slot = this.#slot(node, key);
      const child = this.#children[slot] ?? ROOT;
      if (child === ROOT) {
        this.#children[slot] = this.#add(key, bits, value);
        return true;
      }
      const common = this.#commonBits(child, key, Math.min(bits, this.#bitsOf(child)));
      node = common === this.#bitsOf(child) ? child : this.#branch(slot, child, common);
    }
    if (this.#values[node] !== NO_VALUE) return false;
    this.#values[node] = value;
    return true;
  }

  /** The value of the longest prefix of an IPv4 address, or `NO_VALUE`; the search below, made for one word. */
  findWord(word: number): number {
    const keys = this.#keys;
    const children = this.#children;
    let best = this.#values[ROOT] ?? NO_VALUE;
    let node = children[word >>> 31] ?? ROOT;
    while (node !== ROOT) {
      const bits = this.#bits[node] ?? 0;
      // No child has 0 bits, so the shift is 0 to 31.
      if (((keys[node] ?? 0) ^ word) >>> (32 - bits) !== 0) return best;
      const value = this.#values[node] ?? NO_VALUE;
      if (value !== NO_VALUE) best = value;
      if (bits === 32) return best;
      node = children[node * 2 + ((word >>> (31 - bits)) & 1)] ?? ROOT;
    }
    return best;
  }

  /** The value of the longest prefix of an IPv6 address, or `NO_VALUE`. */
  findWords(key: readonly number[]): number {
    let best = this.#values[ROOT] ?? NO_VALUE;
    let node = this.#children[this.#slot(ROOT, key)] ?? ROOT;
    while (node !== ROOT) {
      const bits = this.#bitsOf(node);
      if (this.#commonBits(node, key, bits) < bits) return best;
      const value = this.#values[node] ?? NO_VALUE;
      if (value !== NO_VALUE) best = value;
      if (bits === 128) return best;
      node = this.#children[this.#slot(node, key)] ?? ROOT;
    }
    return best;
  }

  #bitsOf(node: number): number {
    return this.#bits[node] ?? 0;
  }

  /** Where the child of `node` on the way to `key` is noted. */
  #slot(node: number, key: readonly number[]): number {
    const bit = this.#bitsOf(node);
    return node * 2 + (((key[bit >>> 5] ?? 0) >>> (31 - (bit & 31))) & 1);
  }

  /** How many of the first `most` bits of the node's key and of `key` agree. */
  #commonBits(node: number, key: readonly number[], most: number): number {
    const base = node * this.#width;
    for (let word = 0; word * 32 < most; word++) {
      const differing = (this.#keys[base + word] ?? 0) ^ (key[word] ?? 0);
      if (differing !== 0) return Math.min(most, word * 32 + Math.clz32(differing));
    }
    return most;
  }

  #add(key: readonly number[], bits: number, value: number): number {
    const node = this.#count;
    this.#count += 1;
    this.#keys.set(key, node * this.#width);
    this.#bits[node] = bits;
    this.#values[node] = value;
    return node;
  }

  /** Puts a node of `bits` bits between the slot and the child in it; its key is the child's, longer than it needs. */
  #branch(slot: number, child: number, bits: number): number {
    const base = child * this.#width;
    const key = [...this.#keys.subarray(base, base + this.#width)];
    const node = this.#add(key, bits, NO_VALUE);
    this.#children[slot] = node;
    this.#children[this.#slot(node, key)] = child;
    return node;
  }
}
