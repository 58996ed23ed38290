/** A path-compressed radix tree over address prefixes (Morrison, "PATRICIA", 1968): longest match, never changed. */

import { type Address, bitAt, type Prefix } from './address.ts';

/** Prefixes of both families with a value each. */
export interface PrefixTree<T> {
  /** Distinct prefixes. */
  readonly size: number;
  /** The value of the longest prefix that holds the address. */
  lookup(address: Address): T | undefined;
  contains(address: Address): boolean;
}

export interface PrefixEntry<T> {
  readonly prefix: Prefix;
  readonly value: T;
}

/** A node stands for the first `bits` bits of `key`; without `entry` it is only a fork. */
interface Node<T> {
  readonly key: Address;
  readonly bits: number;
  entry: { readonly value: T } | undefined;
  readonly children: [Node<T> | undefined, Node<T> | undefined];
}

/** Builds the tree. Of two values for one prefix the first stays. */
export function buildPrefixTree<T>(entries: Iterable<PrefixEntry<T>>): PrefixTree<T> {
  const roots = { 4: rootOf<T>(4), 6: rootOf<T>(6) };
  let size = 0;
  for (const { prefix, value } of entries) {
    const node = place(roots[prefix.address.family], prefix);
    if (node.entry !== undefined) continue;
    node.entry = { value };
    size += 1;
  }
  const find = (address: Address) => longest(roots[address.family], address);
  return {
    size,
    lookup: (address) => find(address)?.value,
    contains: (address) => find(address) !== undefined,
  };
}

function rootOf<T>(family: 4 | 6): Node<T> {
  const words = family === 4 ? [0] : [0, 0, 0, 0];
  return { key: { family, words, text: '' }, bits: 0, entry: undefined, children: [undefined, undefined] };
}

function longest<T>(root: Node<T>, address: Address): { readonly value: T } | undefined {
  const width = address.family === 4 ? 32 : 128;
  let best = root.entry;
  let node: Node<T> = root;
  while (node.bits < width) {
    const child = node.children[bitAt(address, node.bits)];
    if (child === undefined || commonBits(child.key, address, child.bits) < child.bits) return best;
    if (child.entry !== undefined) best = child.entry;
    node = child;
  }
  return best;
}

/** The node of the prefix, made where it is missing: as a leaf, between two nodes, or beside one under a new fork. */
function place<T>(root: Node<T>, prefix: Prefix): Node<T> {
  let node = root;
  while (node.bits < prefix.bits) {
    const side = bitAt(prefix.address, node.bits);
    const child = node.children[side];
    if (child === undefined) {
      const leaf = nodeOf<T>(prefix.address, prefix.bits);
      node.children[side] = leaf;
      return leaf;
    }
    const shared = commonBits(child.key, prefix.address, Math.min(child.bits, prefix.bits));
    if (shared < child.bits) return split(node, side, child, prefix, shared);
    node = child;
  }
  return node;
}

function split<T>(parent: Node<T>, side: 0 | 1, child: Node<T>, prefix: Prefix, shared: number): Node<T> {
  const fork = nodeOf<T>(prefix.address, shared);
  parent.children[side] = fork;
  fork.children[bitAt(child.key, shared)] = child;
  if (shared === prefix.bits) return fork;
  const leaf = nodeOf<T>(prefix.address, prefix.bits);
  fork.children[bitAt(prefix.address, shared)] = leaf;
  return leaf;
}

function nodeOf<T>(key: Address, bits: number): Node<T> {
  return { key, bits, entry: undefined, children: [undefined, undefined] };
}

/**
 * How many of the first `limit` bits two addresses share. Example: 10.0.0.0 and 10.128.0.0 differ first in bit 8:
 * 0x0a000000 ^ 0x0a800000 = 0x00800000, whose leading zeros are 8.
 */
function commonBits(a: Address, b: Address, limit: number): number {
  for (let at = 0; at * 32 < limit; at += 1) {
    const difference = (a.words[at] ?? 0) ^ (b.words[at] ?? 0);
    if (difference !== 0) return Math.min(limit, at * 32 + Math.clz32(difference));
  }
  return limit;
}
