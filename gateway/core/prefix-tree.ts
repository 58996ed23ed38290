/** Address lists as radix trees: longest match, or just whether any prefix contains an address. */

import type { Address, Prefix } from './address.ts';
import { PrefixColumns, SLICE, type SlicedWork } from './prefix-columns.ts';
import { type LevelTables, NONE, PrefixLevel } from './prefix-level.ts';

/** The longest prefix that contains an address. */
export interface PrefixMatch {
  /** The number it was added under. */
  readonly number: number;
  /** Its length. */
  readonly bits: number;
}

/** Immutable. `lookup` allocates only its result; `contains` allocates nothing. */
export interface PrefixTree {
  /** Distinct prefixes. */
  readonly size: number;
  /** Bytes of the tables. */
  readonly byteLength: number;
  /** Considers only prefixes of at most `mostBits` bits, if given. */
  lookup(address: Address, mostBits?: number): PrefixMatch | undefined;
  contains(address: Address): boolean;
  /** Every prefix; one that contains others comes before them. */
  entries(): Iterable<PrefixEntry>;
  /** Entries left out as duplicates, with the number of the entry that was kept; at most a thousand are listed. */
  readonly repeats: readonly (readonly [number: number, first: number])[];
  /** Not a copy. */
  readonly tables: TreeTables;
}

/** A tree as plain data, which other processes can share: `treeOf` wraps it without building anything. */
export interface TreeTables {
  readonly four: readonly LevelTables[];
  readonly six: readonly LevelTables[];
  /** IPv6 prefixes longer than 64 bits. */
  readonly sixLong: readonly LevelTables[];
  readonly repeats: PrefixTree['repeats'];
}

/** The tree over tables that were built before. */
export function treeOf({ four, six, sixLong, repeats }: TreeTables): PrefixTree {
  const levelsOf = (tables: readonly LevelTables[]) => tables.map((each) => new PrefixLevel(each));
  return new NestedLevels(levelsOf(four), levelsOf(six), levelsOf(sixLong), repeats);
}

export interface PrefixEntry extends PrefixMatch {
  /** The words of its key. */
  readonly words: readonly number[];
  readonly family: 4 | 6;
}

/**
 * Collects prefixes and builds a tree of them, in steps of a fraction of a millisecond. IPv6 prefixes longer than 64
 * bits, which are few, are kept apart, so that all others need only half a key.
 */
export class PrefixTreeBuilder {
  readonly #four = new PrefixColumns(1);
  readonly #six = new PrefixColumns(2);
  readonly #sixLong = new PrefixColumns(4);

  /** `number`: at most 2^24 - 1. The first of several entries with the same prefix counts. */
  add(prefix: Prefix, number: number): void {
    this.#columnsOf(prefix).add(prefix, number);
  }

  *build(): SlicedWork<PrefixTree> {
    const repeats: (readonly [number, number])[] = [];
    const four = yield* nest(this.#four, repeats);
    const six = yield* nest(this.#six, repeats);
    const sixLong = yield* nest(this.#sixLong, repeats);
    return new NestedLevels(four, six, sixLong, repeats);
  }

  #columnsOf({ address, bits }: Prefix): PrefixColumns {
    if (address.family === 4) return this.#four;
    return bits > 64 ? this.#sixLong : this.#six;
  }
}

/** Builds a tree at once, with the prefixes numbered in order: for short lists. */
export function buildPrefixTree(prefixes: Iterable<Prefix>): PrefixTree {
  const builder = new PrefixTreeBuilder();
  let number = 0;
  for (const prefix of prefixes) builder.add(prefix, number++);
  return finish(builder.build());
}

/** Runs the work to its end without a pause. */
export function finish<T>(work: SlicedWork<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}

/**
 * Sorts the prefixes into levels: the first has those that no other contains, the second those that only one of the
 * first contains, and so on. An address is in a prefix of some level only if it is in one of every level above.
 */
function* nest(columns: PrefixColumns, repeats: Repeats): SlicedWork<readonly PrefixLevel[]> {
  const order = yield* columns.order();
  const { depths, counts } = yield* measureDepths(columns, order, repeats);
  const members = counts.map((count) => new Uint32Array(count));
  const ends = counts.map(() => 0);
  for (let at = 0; at < order.length; at++) {
    const depth = depths[at] ?? REPEATED;
    const list = members[depth];
    if (list !== undefined) list[ends[depth] ?? 0] = order[at] ?? 0;
    if (list !== undefined) ends[depth] = (ends[depth] ?? 0) + 1;
    if (at % SLICE === SLICE - 1) yield;
  }
  const levels: PrefixLevel[] = [];
  for (const each of members) levels.push(yield* PrefixLevel.build(columns, each));
  return levels;
}

type Repeats = (readonly [number: number, first: number])[];
const MAX_REPEATS = 1000;

/** Depth of a duplicate entry. No prefix lies in more than 128 others. */
const REPEATED = 255;

/** The depth of each entry (how many prefixes contain it, all of which precede it), and the entries per depth. */
function* measureDepths(
  columns: PrefixColumns,
  order: Uint32Array,
  repeats: Repeats,
): SlicedWork<{ readonly depths: Uint8Array; readonly counts: number[] }> {
  const depths = new Uint8Array(order.length).fill(REPEATED);
  const counts: number[] = [];
  const around: number[] = [];
  for (let at = 0; at < order.length; at++) {
    const entry = order[at] ?? 0;
    while (around.length > 0 && !holds(columns, around.at(-1) ?? 0, entry)) around.pop();
    const last = around.at(-1);
    if (last === undefined || columns.bits(last) !== columns.bits(entry)) {
      depths[at] = around.length;
      counts[around.length] = (counts[around.length] ?? 0) + 1;
      around.push(entry);
    } else if (repeats.length < MAX_REPEATS) {
      repeats.push([columns.info(entry) >>> 8, columns.info(last) >>> 8]);
    }
    if (at % SLICE === SLICE - 1) yield;
  }
  return { depths, counts };
}

function holds(columns: PrefixColumns, outer: number, inner: number): boolean {
  const bits = columns.bits(outer);
  return bits <= columns.bits(inner) && columns.common(outer, inner, bits) === bits;
}

class NestedLevels implements PrefixTree {
  readonly #four: readonly PrefixLevel[];
  readonly #six: readonly PrefixLevel[];
  readonly #sixLong: readonly PrefixLevel[];
  readonly repeats: PrefixTree['repeats'];

  constructor(
    four: readonly PrefixLevel[],
    six: readonly PrefixLevel[],
    sixLong: readonly PrefixLevel[],
    repeats: PrefixTree['repeats'],
  ) {
    this.repeats = repeats;
    this.#four = four;
    this.#six = six;
    this.#sixLong = sixLong;
  }

  get size(): number {
    return this.#all.reduce((sum, level) => sum + level.size, 0);
  }

  get byteLength(): number {
    return this.#all.reduce((sum, level) => sum + level.byteLength, 0);
  }

  get tables(): TreeTables {
    const tablesOf = (levels: readonly PrefixLevel[]) => levels.map(({ tables }) => tables);
    return {
      four: tablesOf(this.#four),
      six: tablesOf(this.#six),
      sixLong: tablesOf(this.#sixLong),
      repeats: this.repeats,
    };
  }

  contains(address: Address): boolean {
    if (address.family === 4) return (this.#four[0]?.find(address) ?? NONE) !== NONE;
    return (
      (this.#six[0]?.find(address) ?? NONE) !== NONE || (this.#sixLong[0]?.find(address) ?? NONE) !== NONE
    );
  }

  lookup(address: Address, mostBits = 128): PrefixMatch | undefined {
    const isFour = address.family === 4;
    let info = deepest(isFour ? this.#four : this.#sixLong, address, mostBits);
    if (!isFour && info === NONE) info = deepest(this.#six, address, mostBits);
    return info === NONE ? undefined : { number: info >>> 8, bits: info & 0xff };
  }

  *entries(): Iterable<PrefixEntry> {
    for (const level of this.#four) yield* entriesOf(level, 4);
    for (const level of [...this.#six, ...this.#sixLong]) yield* entriesOf(level, 6);
  }

  get #all(): readonly PrefixLevel[] {
    return [...this.#four, ...this.#six, ...this.#sixLong];
  }
}

function* entriesOf(level: PrefixLevel, family: 4 | 6): Iterable<PrefixEntry> {
  for (let index = 0; index < level.size; index++) {
    const { words, info } = level.entry(index);
    const zeros = new Array<number>((family === 4 ? 1 : 4) - words.length).fill(0);
    yield { family, words: [...words, ...zeros], number: info >>> 8, bits: info & 0xff };
  }
}

function deepest(levels: readonly PrefixLevel[], address: Address, mostBits: number): number {
  let best = NONE;
  for (const level of levels) {
    const found = level.find(address);
    if (found === NONE || (found & 0xff) > mostBits) break;
    best = found;
  }
  return best;
}
