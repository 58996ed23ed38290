/** Compares values with a limit one 32-bit word at a time; a word holds one, two or four values, each in a lane. */

import type { ElementSize } from './scatter.ts';

/** How bits encode a magnitude: below a sign bit, unsigned, or in two's complement. */
export type SignForm = 'sign-bit' | 'unsigned' | 'twos-complement';

/**
 * A limit repeated in every lane. A lane is above it if adding `headroom` to its low bits carries into its top bit:
 * with 8 bits and a limit of 100, headroom is 27; 100 + 27 = 127 stays below 128, and 101 + 27 does not.
 */
export interface LaneLimit {
  readonly size: ElementSize;
  readonly sign: SignForm;
  /** The largest magnitude that passes. */
  readonly limit: number;
  readonly headroom: number;
  /** Masks: the top bit of every lane, the bits below it, and the bits of the magnitude. */
  readonly top: number;
  readonly low: number;
  readonly counted: number;
  /** All ones if a set top bit alone is above the limit, else 0. */
  readonly topExceeds: number;
  /** The shift from a lane's top bit to its lowest bit. */
  readonly shift: number;
  /** Times a lane's lowest bit, sets all bits of the lane, to invert a negative number; 0 without two's complement. */
  readonly fill: number;
}

/** Factors that repeat the bits of one lane in all lanes. */
const lanesOf: Readonly<Record<ElementSize, number>> = { 1: 0x0101_0101, 2: 0x0001_0001, 4: 1 };

/** Prepares a limit: `limit` is the largest magnitude that passes, as the integer its bits without a sign make. */
export function laneLimit(size: ElementSize, sign: SignForm, limit: number): LaneLimit {
  const lanes = lanesOf[size];
  const half = 2 ** (8 * size - 1);
  const low = Math.imul(lanes, half - 1);
  const capped = Math.min(limit, sign === 'unsigned' ? 2 * half - 1 : half - 1);
  return {
    size,
    sign,
    limit,
    headroom: Math.imul(lanes, half - 1 - (capped % half)),
    top: ~low,
    low,
    counted: sign === 'unsigned' ? -1 : low,
    topExceeds: capped < half ? -1 : 0,
    shift: 8 * size - 1,
    fill: sign === 'twos-complement' ? 2 * half - 1 : 0,
  };
}

/** Whether a value from `bytes[from]` up to, not including, `bytes[to]` is above the limit. No value may be cut off. */
export function exceeds(limit: LaneLimit, bytes: Buffer, from: number, to: number): boolean {
  // 8 bits in two's complement hold -128 to 127: nothing is above a limit of 128, which `laneLimit` caps at 127.
  if (limit.sign === 'twos-complement' && limit.limit >= 2 ** limit.shift) return false;
  const start = bytes.byteOffset + from;
  const skewed = start % 4;
  // The view holds only words that end by `to`: the memory may end there.
  const words = (skewed + to - from) >>> 2;
  const view = new Uint32Array(bytes.buffer, start - skewed, words);
  const above = skewed === 0 ? wordsAbove(limit, view) : skewedWordsAbove(limit, view, 8 * skewed);
  const rest = from + 4 * (skewed === 0 ? words : Math.max(0, words - 1));
  return above || (rest < to && restAbove(limit, bytes, rest, to));
}

function wordsAbove(limit: LaneLimit, view: Uint32Array): boolean {
  const { low, headroom, top } = limit;
  let found = 0;
  if (limit.sign === 'sign-bit') {
    for (let k = 0; k < view.length; k++) found |= (((view[k] as number) & low) + headroom) | 0;
  } else {
    for (let k = 0; k < view.length; k++) found |= integersAbove(limit, view[k] as number);
  }
  return (found & top) !== 0;
}

/** Like `wordsAbove`, for values that begin `skew` bits into a word: 8 joins 0x44332211, 0x88776655 to 0x55443322. */
function skewedWordsAbove(limit: LaneLimit, view: Uint32Array, skew: number): boolean {
  const { low, headroom, top } = limit;
  let found = 0;
  let before = view[0] as number;
  if (limit.sign === 'sign-bit') {
    for (let k = 1; k < view.length; k++) {
      const after = view[k] as number;
      found |= ((((before >>> skew) | (after << (32 - skew))) & low) + headroom) | 0;
      before = after;
    }
  } else {
    for (let k = 1; k < view.length; k++) {
      const after = view[k] as number;
      found |= integersAbove(limit, (before >>> skew) | (after << (32 - skew)));
      before = after;
    }
  }
  return (found & top) !== 0;
}

/** Sets the top bit of each lane above the limit; other bits are meaningless. -5 becomes 4 inverted, plus 1. */
function integersAbove(limit: LaneLimit, word: number): number {
  const negative = limit.fill === 0 ? 0 : (word & limit.top) >>> limit.shift;
  const size = (word ^ Math.imul(negative, limit.fill)) & limit.counted;
  const sum = ((size & limit.low) + limit.headroom + negative) | 0;
  return (size & sum) | ((size | sum) & limit.topExceeds);
}

/** Checks the last values, less than two words of them. Missing bytes are 0, which is above no limit. */
function restAbove(limit: LaneLimit, bytes: Buffer, from: number, to: number): boolean {
  const words = new Uint32Array(2);
  for (let at = from; at < to; at++) {
    const k = (at - from) >>> 2;
    words[k] = (words[k] as number) | ((bytes[at] as number) << (8 * ((at - from) % 4)));
  }
  return wordsAbove(limit, words);
}

/** The bits of one value without its sign, as compared with a limit. */
export function bitsWithoutSign(size: ElementSize, sign: SignForm, bytes: Buffer, at: number): number {
  if (sign === 'twos-complement') return Math.abs(bytes.readIntLE(at, size));
  return bytes.readUIntLE(at, size) % (sign === 'sign-bit' ? 2 ** (8 * size - 1) : 2 ** (8 * size));
}
