/** Checks that the fields of several headers share. */

import { isUtf8 } from 'node:buffer';
import { type Violation, violation } from './fault.ts';
import type { FrameCommon } from './format.ts';
import { padded } from './layout.ts';

/** Requires that a frame has no payload, and 0 as its CRC. */
export function noPayload(common: FrameCommon): Violation | undefined {
  if (common.payloadLength !== 0) return violation('bounds', 'only PATCH has a payload', 'payload_length');
  return common.payloadCrc === 0 ? undefined : violation('payload-crc', 'the CRC of an empty payload is 0');
}

/** Requires that numbers are at most 2^53-1, so that a double holds them exactly. */
export function safe(...numbers: readonly number[]): Violation | undefined {
  return numbers.every(Number.isSafeInteger) ? undefined : violation('bounds', 'a number is above 2^53-1');
}

/** Requires that reserved bytes of a header are zero. */
export function zero(bytes: Buffer, from: number, to: number): Violation | undefined {
  for (let at = from; at < to; at++) {
    if (bytes[at] !== 0) return violation('reserved', `byte ${at} of the header is not zero`, at);
  }
  return undefined;
}

/** Requires UTF-8 that fills the rest of the header, except for zero padding. */
export function text(bytes: Buffer, at: number, length: number): Violation | undefined {
  if (at + padded(length) !== bytes.length) {
    return violation('header-length', 'the name does not fill the header');
  }
  if (!isUtf8(bytes.subarray(at, at + length))) return violation('encoding', 'the name is not UTF-8', at);
  return zero(bytes, at + length, bytes.length);
}
