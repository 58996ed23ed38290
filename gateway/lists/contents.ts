/** The contents of an address list: a prefix tree over its entries, and the place of each entry. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import { MAX_NUMBER, SLICE, type SlicedWork } from '../core/prefix-columns.ts';
import { type PrefixTree, PrefixTreeBuilder } from '../core/prefix-tree.ts';
import { readEntry } from './entry.ts';
import { EntryPlaces, KeyTextsBuilder, placed } from './entry-places.ts';
import type { KeyedEntries, ListReader, LiveContents } from './live-list.ts';

export interface ListContents extends LiveContents {
  readonly tree: PrefixTree;
  /** Returns the place of an entry by its number: `file:line`, or the source and the key. */
  placeOf(number: number): string;
}

/** The contents as read from a source; plain data apart from the methods. */
export interface ReadContents extends ListContents {
  readonly places: EntryPlaces;
}

/** Returns contents made of a tree and the places of its entries; `nextEndMs` is Infinity if no entry expires. */
export function contentsOf(tree: PrefixTree, places: EntryPlaces, nextEndMs: number): ReadContents {
  return { tree, size: tree.size, ...placed(places, nextEndMs) };
}

/** Limit on the faults of one list: a file that is not a list at all has one on every line. */
const MAX_FAULTS = 20;
/** Lines to read before yielding. */
const LINES = SLICE >> 3;

/** Reads a list written as text, one entry per line; skips entries that expired by `nowMs`. */
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

/** Reads entries that each have a key; `place` and key together locate an entry. */
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

/** Reads lists of prefixes. */
export const prefixReader: ListReader<ReadContents> = { text: readText, keyed: readKeyed };

class Reading {
  readonly #builder = new PrefixTreeBuilder();
  readonly #nowMs: number;
  readonly #faults: PolicyFault[] = [];
  #nextEndMs = Number.POSITIVE_INFINITY;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  /** Adds the entry unless it has expired. Returns an error message if the text is invalid. */
  read(text: string, number: number): string | undefined {
    if (number > MAX_NUMBER) return `a list has at most ${MAX_NUMBER} lines`;
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
