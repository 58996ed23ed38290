/** Address lists: our tree beside others that answer the same question, in one run, on random addresses. */

import { BlockList } from 'node:net';
import ipaddr from 'ipaddr.js';
import { type Prefix, parseAddress, parsePrefix } from '../../gateway/core/address.ts';
import type { PrefixTree } from '../../gateway/core/prefix-tree.ts';
import { type ListContents, prefixReader } from '../../gateway/lists/contents.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { median } from './print.ts';

export interface AddressRow {
  readonly name: string;
  /** Median nanoseconds of a lookup from text, IPv4 and IPv6. */
  readonly fourNs: number;
  readonly sixNs: number;
}

export interface AddressResult {
  readonly prefixes: number;
  readonly rows: readonly AddressRow[];
  /** The same row measured twice. */
  readonly noise: number;
  readonly bytes: number;
  /** Of a list of IPv4 alone. */
  readonly fourBytes: number;
  readonly buildMs: number;
  readonly longestPieceMs: number;
}

const TEXTS = 16_384;
/** A list looked at from end to end is asked less often. */
const SLOW_TEXTS = 16;
const WARM_MS = 300;
/** The first one finds code that was never run, and does not count. */
const BUILDS = 6;

type Answers = (text: string) => boolean;

export function benchAddresses(count: number, rounds: number): AddressResult {
  const random = new SeededRandom(count);
  const lines = [
    ...Array.from({ length: count / 2 }, () => randomFour(random)),
    ...Array.from({ length: count / 2 }, () => randomSix(random)),
  ];
  const text = lines.join('\n');
  const builds = Array.from({ length: BUILDS }, () => build(text)).slice(1);
  const { tree } = (builds[0] as Built).contents;
  const texts = {
    four: Array.from({ length: TEXTS }, () => flat(fourText(random.below(2 ** 32)))),
    six: Array.from({ length: TEXTS }, () => flat(sixText(random))),
  };
  const prefixes = lines.flatMap((line) => {
    const prefix = parsePrefix(line);
    return typeof prefix === 'string' ? [] : [prefix];
  });
  const contestants: readonly (readonly [string, Answers, number])[] = [
    ['patchgate, contains', containsIn(tree), TEXTS],
    ['patchgate, longest match', lookupIn(tree), TEXTS],
    ['Map for each length', mapWalk(prefixes), TEXTS],
    ['net.BlockList', blockList(prefixes), TEXTS],
    ['ipaddr.js, linear', linear(lines), SLOW_TEXTS],
  ];
  requireSameAnswers(contestants, texts);
  const rows = contestants.map(([name, answers, size]) => ({
    name,
    fourNs: medianNs(answers, texts.four.slice(0, size), rounds),
    sixNs: medianNs(answers, texts.six.slice(0, size), rounds),
  }));
  const again = medianNs(containsIn(tree), texts.four, rounds);
  const four = build(Array.from({ length: count }, () => randomFour(random)).join('\n'));
  return {
    prefixes: tree.size,
    rows,
    noise: again / (rows[0]?.fourNs ?? Number.NaN),
    bytes: tree.byteLength,
    fourBytes: four.contents.tree.byteLength,
    buildMs: median(builds.map(({ ms }) => ms)),
    longestPieceMs: median(builds.map(({ longestMs }) => longestMs)),
  };
}

interface Built {
  readonly contents: ListContents;
  readonly ms: number;
  readonly longestMs: number;
}

/** From text to tree in the steps the gateway takes. */
function build(text: string): Built {
  const steps = prefixReader.text('list', text, 0);
  let ms = 0;
  let longestMs = 0;
  for (;;) {
    const from = performance.now();
    const { done, value } = steps.next();
    const tookMs = performance.now() - from;
    ms += tookMs;
    longestMs = Math.max(longestMs, tookMs);
    if (done !== true) continue;
    if (!('tree' in value)) throw new Error('the list has faults');
    return { contents: value, ms, longestMs };
  }
}

function containsIn(tree: PrefixTree): Answers {
  return (text) => {
    const address = parseAddress(text);
    return address !== undefined && tree.contains(address);
  };
}

function lookupIn(tree: PrefixTree): Answers {
  return (text) => {
    const address = parseAddress(text);
    return address !== undefined && tree.lookup(address) !== undefined;
  };
}

/** What one would write in an afternoon: a Map for each length, asked from the longest on. */
function mapWalk(prefixes: readonly Prefix[]): Answers {
  const byLength = new Map<string, Set<string>>();
  for (const { address, bits } of prefixes) {
    const key = `${address.family} ${bits}`;
    const known = byLength.get(key) ?? new Set();
    byLength.set(key, known.add(keyOf(address.words, bits)));
  }
  return (text) => {
    const address = parseAddress(text);
    if (address === undefined) return false;
    for (let bits = address.family === 4 ? 32 : 128; bits >= 0; bits--) {
      if (byLength.get(`${address.family} ${bits}`)?.has(keyOf(address.words, bits)) === true) return true;
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

function blockList(prefixes: readonly Prefix[]): Answers {
  const list = new BlockList();
  for (const { address, bits } of prefixes)
    list.addSubnet(address.text, bits, address.family === 4 ? 'ipv4' : 'ipv6');
  return (text) => list.check(text, text.includes(':') ? 'ipv6' : 'ipv4');
}

function linear(lines: readonly string[]): Answers {
  const ranges = lines.map((line) => ipaddr.parseCIDR(line));
  return (text) => {
    const address = ipaddr.process(text);
    return ranges.some((range) => range[0].kind() === address.kind() && address.match(range as never));
  };
}

function requireSameAnswers(
  contestants: readonly (readonly [string, Answers, number])[],
  texts: { readonly four: readonly string[]; readonly six: readonly string[] },
): void {
  for (const text of [...texts.four.slice(0, 20), ...texts.six.slice(0, 20)]) {
    const answers = new Set(contestants.map(([, answer]) => answer(text)));
    if (answers.size !== 1) throw new Error(`the contestants disagree about ${text}`);
  }
}

function medianNs(answers: Answers, texts: readonly string[], rounds: number): number {
  const times: number[] = [];
  const warmUntilMs = performance.now() + WARM_MS;
  while (performance.now() < warmUntilMs) roundNs(answers, texts);
  for (let round = 0; round < rounds; round++) times.push(roundNs(answers, texts));
  return median(times);
}

function roundNs(answers: Answers, texts: readonly string[]): number {
  const from = performance.now();
  let held = 0;
  for (const text of texts) if (answers(text)) held += 1;
  // The sum is used, so that no lookup can be left out.
  if (held > texts.length) throw new Error('more than all');
  return ((performance.now() - from) * 1e6) / texts.length;
}

function fourText(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

function sixText(random: SeededRandom): string {
  const groups = Array.from({ length: 7 }, () => random.below(65_536).toString(16));
  return [(0x2000 + random.below(0x2000)).toString(16), ...groups].join(':');
}

/** Most announced networks are /24, fewer are wider, some are single machines. */
function randomFour(random: SeededRandom): string {
  const bits = random.next() < 0.6 ? 24 : 12 + random.below(21);
  const word = (random.below(2 ** 32) & (-1 << (32 - bits))) >>> 0;
  return `${fourText(word)}/${bits}`;
}

function randomSix(random: SeededRandom): string {
  const bits = random.next() < 0.6 ? 48 : 20 + random.below(45);
  const bytes = [0x20 + random.below(0x20), ...random.bytes(15)].map((byte, index) => {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    return byte & (0xff00 >> kept) & 0xff;
  });
  return `${new ipaddr.IPv6(bytes).toRFC5952String()}/${bits}`;
}

/** One piece of memory, as text off the wire is, and not a tree of what it was put together from. */
function flat(text: string): string {
  return Buffer.from(text).toString('latin1');
}
