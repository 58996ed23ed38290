/** Where the entries of a list stand: on the lines of a file, or at keys, which are kept as one piece of text. */

import { SLICE, type SlicedWork } from '../core/prefix-columns.ts';

/** Keys as plain data: UTF-8, and where each of them begins and the last one ends. */
export interface KeyTexts {
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
}

export class EntryPlaces {
  /** The file, or the place whose keys the entries have. */
  readonly place: string;
  readonly keys: KeyTexts | undefined;

  /** Without keys the entries are numbered by their lines. */
  constructor(place: string, keys?: KeyTexts) {
    this.place = place;
    this.keys = keys;
  }

  /** `file:line`, or the place and the key. */
  of(number: number): string {
    if (this.keys === undefined) return `${this.place}:${number}`;
    const { bytes, starts } = this.keys;
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return `${this.place} ${key.toString('utf8', starts[number] ?? 0, starts[number + 1] ?? 0)}`;
  }
}

/** What every list that was read has besides its entries. */
export interface Placed {
  readonly places: EntryPlaces;
  /** `file:line` of the entry of that number, or what else says where it stands. */
  placeOf(number: number): string;
  /** Absent where no entry ends. */
  readonly nextEndMs?: number;
}

/** `nextEndMs` is Infinity where none of them ends. */
export function placed(places: EntryPlaces, nextEndMs: number): Placed {
  return {
    places,
    placeOf: (number) => places.of(number),
    ...(nextEndMs < Number.POSITIVE_INFINITY && { nextEndMs }),
  };
}

/** Collects keys in their order. */
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
