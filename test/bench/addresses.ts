/** Address lists: our tree and other solutions, in one run, with random addresses. */

import { type Prefix, parsePrefix } from '../../gateway/core/address.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { type BuildResult, benchBuilds, build } from './address-builds.ts';
import {
  type Answers,
  blockList,
  containsIn,
  everyCharacter,
  linear,
  lookupIn,
  mapWalk,
  readAlone,
} from './address-rivals.ts';
import { type AddressTexts, fourTexts, listText, sixTexts } from './address-texts.ts';
import { median } from './print.ts';

export interface AddressRow {
  readonly name: string;
  readonly four: Measured;
  readonly six: Measured;
}

/** Medians over the rounds. */
export interface Measured {
  /** Nanoseconds per lookup, from text. */
  readonly ns: number;
  /** The same divided by a loop over the characters, and by `contains`, in the same round. */
  readonly toFloor: number;
  readonly toContains: number;
}

export interface AddressResult extends BuildResult {
  readonly prefixes: number;
  readonly rows: readonly AddressRow[];
  readonly bytes: number;
  /** Bytes of a list of as many IPv4 prefixes. */
  readonly fourBytes: number;
  /** Nanoseconds per read in a chain of dependent random reads, over half as many bytes. */
  readonly memoryNs: number;
}

const TEXTS = 65_536;
/** Strings made at a time: few enough to stay in the nearest cache, like the text of a request, unlike the list. */
const BLOCK = 512;
/** The linear search and the Map per length look up fewer addresses. */
const SLOW_TEXTS = 4;
const SLOWER_TEXTS = 4096;
const WARM_ROUNDS = 3;

type Contestant = readonly [name: string, answers: Answers, texts: number];

export async function benchAddresses(count: number, rounds: number): Promise<AddressResult> {
  const random = new SeededRandom(count);
  const text = listText(random, count, 'mixed');
  const built = await benchBuilds(text);
  const { tree } = build(text);
  const lines = text.split('\n');
  const prefixes = lines.map(parsePrefix).filter((prefix): prefix is Prefix => typeof prefix !== 'string');
  const contestants: readonly Contestant[] = [
    ['every character once', everyCharacter, TEXTS],
    ['patchgate, contains', containsIn(tree), TEXTS],
    ['the same again', containsIn(tree), TEXTS],
    ['patchgate, reading alone', readAlone, TEXTS],
    ['patchgate, longest match', lookupIn(tree), TEXTS],
    ['net.BlockList', blockList(prefixes), TEXTS],
    ['Map for each length', mapWalk(prefixes), SLOWER_TEXTS],
    ['ipaddr.js, linear', linear(lines), SLOW_TEXTS],
  ];
  const texts = { four: fourTexts(random, TEXTS), six: sixTexts(random, TEXTS) };
  requireSameAnswers(contestants, texts);
  const four = measure(contestants, texts.four, rounds);
  const six = measure(contestants, texts.six, rounds);
  return {
    ...built,
    prefixes: tree.size,
    rows: contestants.map(([name], index) => ({
      name,
      four: four[index] as Measured,
      six: six[index] as Measured,
    })),
    bytes: tree.byteLength,
    fourBytes: build(listText(random, count, 'four')).tree.byteLength,
    memoryNs: median(Array.from({ length: rounds }, () => memoryNs(random, tree.byteLength / 2))),
  };
}

/** Whether it answers the question; the others only read the text. */
const isRival = ([, answers]: Contestant): boolean => answers !== everyCharacter && answers !== readAlone;

function requireSameAnswers(
  contestants: readonly Contestant[],
  texts: { readonly four: AddressTexts; readonly six: AddressTexts },
): void {
  for (const some of [texts.four, texts.six]) {
    const asked = Array.from({ length: 20 }, () => '');
    some.make(0, asked);
    for (const text of asked) {
      const answers = new Set(contestants.filter(isRival).map(([, answer]) => answer(text)));
      if (answers.size !== 1) throw new Error(`the contestants disagree about ${text}`);
    }
  }
}

/** Runs all contestants in every round, so that drift of the machine affects all alike. */
function measure(contestants: readonly Contestant[], texts: AddressTexts, rounds: number): Measured[] {
  const found = contestants.map((): number[] => []);
  for (let round = -WARM_ROUNDS; round < rounds; round++) {
    for (const [index, [, answers, count]] of contestants.entries()) {
      const ns = roundNs(answers, texts, count);
      if (round >= 0) found[index]?.push(ns);
    }
  }
  const [floor = [], contains = []] = found;
  const ratios = (values: readonly number[], base: readonly number[]): number[] =>
    values.map((value, round) => value / (base[round] ?? Number.NaN));
  return found.map((each) => ({
    ns: median(each),
    toFloor: median(ratios(each, floor)),
    toContains: median(ratios(each, contains)),
  }));
}

/** Times the lookups only, not the making of the strings. */
function roundNs(answers: Answers, texts: AddressTexts, count: number): number {
  const block = Array.from({ length: Math.min(BLOCK, count) }, () => '');
  let held = 0;
  let ms = 0;
  for (let from = 0; from < count; from += block.length) {
    texts.make(from, block);
    const began = performance.now();
    for (const text of block) if (answers(text)) held += 1;
    ms += performance.now() - began;
  }
  // The count is used, so that the compiler cannot remove a lookup.
  if (held > count) throw new Error('more matches than lookups');
  return (ms * 1e6) / count;
}

/** Each element holds the index of the next; together they form one random cycle through the memory (Sattolo). */
function memoryNs(random: SeededRandom, bytes: number): number {
  const ring = new Uint32Array(bytes >> 2);
  for (let at = 0; at < ring.length; at++) ring[at] = at;
  for (let at = ring.length - 1; at > 0; at--) {
    const other = random.below(at);
    [ring[at], ring[other]] = [ring[other] ?? 0, ring[at] ?? 0];
  }
  let at = 0;
  const began = performance.now();
  for (let left = TEXTS; left > 0; left--) at = ring[at] ?? 0;
  const ms = performance.now() - began;
  if (at >= ring.length) throw new Error('out of the ring');
  return (ms * 1e6) / TEXTS;
}
