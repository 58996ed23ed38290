/** Checks encoded indices against their header as they pass: one small state machine per encoding, any chunk size. */

import type { PatchFields } from './format.ts';
import type { IndexEncoding } from './layout.ts';

/** Reused from frame to frame. `take` and `finish` return an error message for the sender, or undefined. */
export interface IndexCheck {
  /** Forgets the last frame and begins this one. */
  begin(patch: PatchFields): void;
  /** Takes the next index bytes, from `bytes[from]` up to, not including, `bytes[to]`. */
  take(bytes: Buffer, from: number, to: number): string | undefined;
  /** Called once all index bytes were taken. */
  finish(): string | undefined;
}

/** Creates one check per encoding; each must be begun before it takes bytes. */
export function createIndexChecks(): Readonly<Record<IndexEncoding, IndexCheck>> {
  return { gap: new GapCheck(), run: new RunCheck(), bitmap: new BitmapCheck(), range: new RangeCheck() };
}

/** A varint has at most 4 bytes with a continuation bit: 5 bytes in all. */
const MAX_CONTINUATIONS = 4;
/** The weight of a fifth byte. It is multiplied, not shifted: 0x7f << 28 does not fit into 32 bits. */
const FIFTH_BYTE = 2 ** 28;
const TOO_LONG = 'a varint is longer than 5 bytes';
const NOT_MINIMAL = 'a varint is not minimal';
const DANGLING = 'the last varint is cut off';

/** Checks gaps: LEB128 of `index[k] - index[k-1] - 1` for every index but the first. */
class GapCheck implements IndexCheck {
  #count = 0;
  #last = 0;
  #index = 0;
  #seen = 0;
  /** The unfinished varint: its value and the number of its bytes so far. */
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

/** Checks runs: pairs LEB128(gap), LEB128(length - 1). The first gap is 0: the first run begins at `firstIndex`. */
class RunCheck implements IndexCheck {
  #count = 0;
  #last = 0;
  /** The index after the runs and gaps so far. */
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

/** The number of set bits, by byte. */
const bitsOf = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length);

/** Checks a bitmap: one bit per element from first to last, lowest bit first. */
class BitmapCheck implements IndexCheck {
  #count = 0;
  /** The position of the last element's bit in the last byte, from 0. */
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
    // Shifted down to the last element's bit, the byte must be 1: that bit set, no padding bit above it. With the bit
    // at position 2, 0b0000_0101 becomes 1 and passes; 0b0001_0101 becomes 0b101 and does not.
    return this.#lastByte >>> this.#lastBit === 1 ? undefined : 'the bitmap does not end at the last index';
  }
}

/** A range is every element from first to last, so there is nothing to decode. */
class RangeCheck implements IndexCheck {
  begin(): void {}

  take(): undefined {
    return undefined;
  }

  finish(): undefined {
    return undefined;
  }
}
