/** Ways to look up an address, given as text, in a list; and what reading the text alone costs. */

import { BlockList } from 'node:net';
import ipaddr from 'ipaddr.js';
import { type Prefix, parseAddress } from '../../gateway/core/address.ts';
import type { PrefixTree } from '../../gateway/core/prefix-tree.ts';

export type Answers = (text: string) => boolean;

/** Reads every character once: the floor for anything that reads the text. */
export function everyCharacter(text: string): boolean {
  let sum = 0;
  for (let at = 0; at < text.length; at++) sum += text.charCodeAt(at);
  return sum > 0;
}

export function readAlone(text: string): boolean {
  return parseAddress(text) !== undefined;
}

export function containsIn(tree: PrefixTree): Answers {
  return (text) => {
    const address = parseAddress(text);
    return address !== undefined && tree.contains(address);
  };
}

export function lookupIn(tree: PrefixTree): Answers {
  return (text) => {
    const address = parseAddress(text);
    return address !== undefined && tree.lookup(address) !== undefined;
  };
}

/** The obvious solution: a Set for each prefix length, in a Map, tried from the longest to the shortest. */
export function mapWalk(prefixes: readonly Prefix[]): Answers {
  const byLength = new Map<string, Set<string>>();
  for (const { address, bits } of prefixes) {
    const key = `${address.family} ${bits}`;
    const known = byLength.get(key) ?? new Set();
    byLength.set(key, known.add(keyOf(address.words, bits)));
  }
  return (text) => {
    const address = parseAddress(text);
    if (address === undefined) return false;
    const { family, words } = address;
    for (let bits = family === 4 ? 32 : 128; bits >= 0; bits--) {
      if (byLength.get(`${family} ${bits}`)?.has(keyOf(words, bits)) === true) return true;
    }
    return false;
  };
}

function keyOf(words: readonly number[], bits: number): string {
  return words
    .map((word, index) => {
      const kept = Math.min(32, Math.max(0, bits - index * 32));
      return kept === 0 ? 0 : (word & (-1 << (32 - kept))) >>> 0;
    })
    .join();
}

export function blockList(prefixes: readonly Prefix[]): Answers {
  const list = new BlockList();
  for (const { address, bits } of prefixes)
    list.addSubnet(address.text, bits, address.family === 4 ? 'ipv4' : 'ipv6');
  return (text) => list.check(text, text.includes(':') ? 'ipv6' : 'ipv4');
}

export function linear(lines: readonly string[]): Answers {
  const ranges = lines.map((line) => ipaddr.parseCIDR(line));
  return (text) => {
    const address = ipaddr.process(text);
    return ranges.some((range) => range[0].kind() === address.kind() && address.match(range as never));
  };
}
