/** Rules that the fields of several headers share. */

import { isUtf8 } from 'node:buffer';
import { type Violation, violation } from './fault.ts';
import type { FrameCommon } from './format.ts';
import { padded } from './layout.ts';

/** A frame of this type has no payload, and the CRC of none. */
export function noPayload(common: FrameCommon): Violation | undefined {
  if (common.payloadLength !== 0) return violation('bounds', 'only a patch has a payload', 'payload_length');
  return common.payloadCrc === 0 ? undefined : violation('payload-crc', 'the CRC of no payload is 0');
}

/** Numbers that are exact. */
export function safe(...numbers: readonly number[]): Violation | undefined {
  return numbers.every(Number.isSafeInteger) ? undefined : violation('bounds', 'a number is above 2^53-1');
}

/** Bytes of a header that have no meaning. */
export function zero(bytes: Buffer, from: number, to: number): Violation | undefined {
  for (let at = from; at < to; at++) {
    if (bytes[at] !== 0) return violation('reserved', `byte ${at} of the header is not zero`, at);
  }
  return undefined;
}

/** UTF-8 that fills the rest of the header but for its padding, which is zero. */
export function text(bytes: Buffer, at: number, length: number): Violation | undefined {
  if (at + padded(length) !== bytes.length) {
    return violation('header-length', 'the name does not fill the header');
  }
  if (!isUtf8(bytes.subarray(at, at + length))) return violation('encoding', 'the name is not UTF-8', at);
  return zero(bytes, at + length, bytes.length);
}
