/** An address list as it was read: a tree over its entries, and where each of them stands. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import { MAX_NUMBER, SLICE, type SlicedWork } from '../core/prefix-columns.ts';
import { type PrefixTree, PrefixTreeBuilder } from '../core/prefix-tree.ts';
import { readEntry } from './entry.ts';
import { EntryPlaces, KeyTextsBuilder, placed } from './entry-places.ts';
import type { KeyedEntries, ListReader, LiveContents } from './live-list.ts';

export interface ListContents extends LiveContents {
  readonly tree: PrefixTree;
  /** `file:line` of the entry of that number, or what else says where it stands. */
  placeOf(number: number): string;
}

/** What was read of a source, as plain data but for the methods over it. */
export interface ReadContents extends ListContents {
  readonly places: EntryPlaces;
}

/** Of a tree and where its entries stand; `nextEndMs` is Infinity where none of them ends. */
export function contentsOf(tree: PrefixTree, places: EntryPlaces, nextEndMs: number): ReadContents {
  return { tree, size: tree.size, ...placed(places, nextEndMs) };
}

/** Faults told of one list, at most: a file of something else has as many as it has lines. */
const MAX_FAULTS = 20;
/** Lines between two looks at whether to give way. */
const LINES = SLICE >> 3;

/** Reads a list written as text, one entry a line; entries that ended before `nowMs` do not count. */
function* readText(
  file: string,
  text: string,
  nowMs: number,
): SlicedWork<ReadContents | readonly PolicyFault[]> {
  const reading = new Reading(nowMs);
  let start = 0;
  for (let line = 1; start <= text.length; line++) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    const written = text.slice(start, end);
    const problem = reading.read(written, line);
    if (problem !== undefined) {
      const column = written.length - written.trimStart().length + 1;
      reading.fault({ ...fileFault(file, problem), line, column });
    }
    start = end + 1;
    if (line % LINES === 0) yield;
  }
  return yield* reading.finish(new EntryPlaces(file));
}

/** Reads entries that each have a key of their own: `place` and key tell where one stands. */
function* readKeyed(
  place: string,
  entries: KeyedEntries,
  nowMs: number,
): SlicedWork<ReadContents | readonly PolicyFault[]> {
  const reading = new Reading(nowMs);
  const keys = new KeyTextsBuilder();
  for (const [key, text] of entries) {
    const problem = reading.read(text, keys.count);
    if (problem !== undefined) reading.fault(fileFault(`${place} ${key}`, problem));
    keys.add(key);
    if (keys.count % LINES === 0) yield;
  }
  return yield* reading.finish(new EntryPlaces(place, yield* keys.build()));
}

/** Prefixes, one an entry. */
export const prefixReader: ListReader<ReadContents> = { text: readText, keyed: readKeyed };

class Reading {
  readonly #builder = new PrefixTreeBuilder();
  readonly #nowMs: number;
  readonly #faults: PolicyFault[] = [];
  #nextEndMs = Number.POSITIVE_INFINITY;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  /** A sentence when the text is no entry. */
  read(text: string, number: number): string | undefined {
    if (number > MAX_NUMBER) return `a list has ${MAX_NUMBER} lines at most`;
    const entry = readEntry(text);
    if (typeof entry !== 'object') return entry;
    const { prefix, untilMs = Number.POSITIVE_INFINITY } = entry;
    if (untilMs <= this.#nowMs) return undefined;
    this.#nextEndMs = Math.min(this.#nextEndMs, untilMs);
    this.#builder.add(prefix, number);
    return undefined;
  }

  fault(fault: PolicyFault): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push(fault);
  }

  *finish(places: EntryPlaces): SlicedWork<ReadContents | readonly PolicyFault[]> {
    if (this.#faults.length > 0) return this.#faults;
    return contentsOf(yield* this.#builder.build(), places, this.#nextEndMs);
  }
}
