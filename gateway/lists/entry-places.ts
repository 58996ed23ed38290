/** The places of list entries: the lines of a file, or keys, which are kept as one piece of text. */

import { SLICE, type SlicedWork } from '../core/prefix-columns.ts';

/** Keys as UTF-8, with the start of each and the end of the last: `a` and `bc` have starts [0, 1, 3]. */
export interface KeyTexts {
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
}

export class EntryPlaces {
  /** The file, or the source that has the keys. */
  readonly place: string;
  readonly keys: KeyTexts | undefined;

  /** Entries are numbered by their keys, or, without keys, by their lines. */
  constructor(place: string, keys?: KeyTexts) {
    this.place = place;
    this.keys = keys;
  }

  /** Returns `file:line`, or the source and the key. */
  of(number: number): string {
    if (this.keys === undefined) return `${this.place}:${number}`;
    const { bytes, starts } = this.keys;
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return `${this.place} ${key.toString('utf8', starts[number] ?? 0, starts[number + 1] ?? 0)}`;
  }
}

/** What the contents of every list have besides the entries. */
export interface Placed {
  readonly places: EntryPlaces;
  /** Returns the place of an entry by its number: `file:line`, or the source and the key. */
  placeOf(number: number): string;
  /** When the next entry expires; absent if none does. */
  readonly nextEndMs?: number;
}

/** `nextEndMs` is Infinity if no entry expires. */
export function placed(places: EntryPlaces, nextEndMs: number): Placed {
  return {
    places,
    placeOf: (number) => places.of(number),
    ...(nextEndMs < Number.POSITIVE_INFINITY && { nextEndMs }),
  };
}

/** Collects keys in order. */
export class KeyTextsBuilder {
  readonly #blocks: Buffer[] = [];
  readonly #lengths: number[] = [];
  #waiting: string[] = [];

  add(key: string): void {
    this.#waiting.push(key);
    this.#lengths.push(Buffer.byteLength(key));
    if (this.#waiting.length === SLICE) this.#encode();
  }

  get count(): number {
    return this.#lengths.length;
  }

  *build(): SlicedWork<KeyTexts> {
    this.#encode();
    const starts = new Uint32Array(this.#lengths.length + 1);
    for (const [index, length] of this.#lengths.entries()) starts[index + 1] = (starts[index] ?? 0) + length;
    yield;
    const bytes = new Uint8Array(starts[this.#lengths.length] ?? 0);
    let end = 0;
    for (const block of this.#blocks) {
      bytes.set(block, end);
      end += block.length;
      yield;
    }
    return { bytes, starts };
  }

  #encode(): void {
    this.#blocks.push(Buffer.from(this.#waiting.join('')));
    this.#waiting = [];
  }
}
