/** Holds encoded indices against their header in passing: one small state machine per encoding, any chunk size. */

import type { PatchFields } from './format.ts';
import type { IndexEncoding } from './layout.ts';

/** Reused from frame to frame; `take` and `finish` say what is wrong, in words for the sender, or nothing. */
export interface IndexCheck {
  /** Forgets the last frame and begins this one. */
  begin(patch: PatchFields): void;
  /** The next index bytes: `bytes` from `from` up to `to`. */
  take(bytes: Buffer, from: number, to: number): string | undefined;
  /** All index bytes were taken. */
  finish(): string | undefined;
}

/** One check per encoding, ready to be begun. */
export function createIndexChecks(): Readonly<Record<IndexEncoding, IndexCheck>> {
  return { gap: new GapCheck(), run: new RunCheck(), bitmap: new BitmapCheck(), range: new RangeCheck() };
}

/** Continuation bytes a varint may have: 5 bytes in all. */
const MAX_CONTINUATIONS = 4;
const FIFTH_BYTE = 2 ** 28;
const TOO_LONG = 'a varint is longer than 5 bytes';
const NOT_MINIMAL = 'a varint is not minimal';
const DANGLING = 'the last varint is cut off';

/** LEB128 of `index[k] - index[k-1] - 1`. */
class GapCheck implements IndexCheck {
  #count = 0;
  #last = 0;
  #index = 0;
  #seen = 0;
  /** The varint under way: its value so far, and its bytes. */
  #value = 0;
  #length = 0;

  begin(patch: PatchFields): void {
    this.#count = patch.count;
    this.#last = patch.lastIndex;
    this.#index = patch.firstIndex;
    this.#seen = 1;
    this.#value = 0;
    this.#length = 0;
  }

  take(bytes: Buffer, from: number, to: number): string | undefined {
    let value = this.#value;
    let length = this.#length;
    let sum = 0;
    let seen = 0;
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number;
      if (byte >= 0x80) {
        if (length === MAX_CONTINUATIONS) return TOO_LONG;
        value |= (byte & 0x7f) << (7 * length);
        length += 1;
        continue;
      }
      seen += 1;
      if (length === 0) {
        sum += byte;
        continue;
      }
      if (byte === 0) return NOT_MINIMAL;
      sum += length === MAX_CONTINUATIONS ? value + byte * FIFTH_BYTE : value | (byte << (7 * length));
      value = 0;
      length = 0;
    }
    this.#value = value;
    this.#length = length;
    this.#seen += seen;
    this.#index += sum + seen;
    return undefined;
  }

  finish(): string | undefined {
    if (this.#length > 0) return DANGLING;
    if (this.#seen !== this.#count) return `there are ${this.#seen} indices, not ${this.#count}`;
    return this.#index === this.#last ? undefined : `the last index is ${this.#index}, not ${this.#last}`;
  }
}

/** Pairs LEB128(gap), LEB128(length - 1); the first gap is 0, for the first run begins at `firstIndex`. */
class RunCheck implements IndexCheck {
  #count = 0;
  #last = 0;
  /** The first index that is still free. */
  #next = 0;
  #seen = 0;
  #inPair = false;
  #value = 0;
  #length = 0;

  begin(patch: PatchFields): void {
    this.#count = patch.count;
    this.#last = patch.lastIndex;
    this.#next = patch.firstIndex;
    this.#seen = 0;
    this.#inPair = false;
    this.#value = 0;
    this.#length = 0;
  }

  take(bytes: Buffer, from: number, to: number): string | undefined {
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number;
      if (byte >= 0x80) {
        if (this.#length === MAX_CONTINUATIONS) return TOO_LONG;
        this.#value |= (byte & 0x7f) << (7 * this.#length);
        this.#length += 1;
        continue;
      }
      if (byte === 0 && this.#length > 0) return NOT_MINIMAL;
      const fault = this.#number(this.#value + byte * 2 ** (7 * this.#length));
      if (fault !== undefined) return fault;
      this.#value = 0;
      this.#length = 0;
    }
    return undefined;
  }

  #number(number: number): string | undefined {
    if (this.#inPair) {
      this.#next += number + 1;
      this.#seen += number + 1;
    } else {
      if (this.#seen === 0 && number !== 0) return 'the first run does not begin at the first index';
      this.#next += number;
    }
    this.#inPair = !this.#inPair;
    return undefined;
  }

  finish(): string | undefined {
    if (this.#length > 0) return DANGLING;
    if (this.#inPair) return 'the last run has no length';
    if (this.#seen !== this.#count) return `there are ${this.#seen} indices, not ${this.#count}`;
    const last = this.#next - 1;
    return last === this.#last ? undefined : `the last index is ${last}, not ${this.#last}`;
  }
}

/** Set bits of every byte. */
const bitsOf = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length);

/** One bit per element from first to last, lowest bit first. */
class BitmapCheck implements IndexCheck {
  #count = 0;
  /** The place of the last element's bit in the last byte. */
  #lastBit = 0;
  #firstByte = -1;
  #lastByte = 0;
  #seen = 0;

  begin(patch: PatchFields): void {
    this.#count = patch.count;
    this.#lastBit = (patch.lastIndex - patch.firstIndex) % 8;
    this.#firstByte = -1;
    this.#lastByte = 0;
    this.#seen = 0;
  }

  take(bytes: Buffer, from: number, to: number): string | undefined {
    if (this.#firstByte === -1) this.#firstByte = bytes[from] as number;
    let seen = 0;
    for (let at = from; at < to; at++) seen += bitsOf[bytes[at] as number] as number;
    this.#lastByte = bytes[to - 1] as number;
    this.#seen += seen;
    return undefined;
  }

  finish(): string | undefined {
    if (this.#seen !== this.#count) return `${this.#seen} bits are set, not ${this.#count}`;
    if ((this.#firstByte & 1) === 0) return 'the bit of the first index is not set';
    // Shifted down by its place, the last element's bit must be all that is left: set, and no padding bit above it.
    return this.#lastByte >>> this.#lastBit === 1 ? undefined : 'the bitmap does not end at the last index';
  }
}

/** Every element from first to last; there is nothing to decode. */
class RangeCheck implements IndexCheck {
  begin(): void {}

  take(): undefined {
    return undefined;
  }

  finish(): undefined {
    return undefined;
  }
}
