/** The constants of WPF1: lengths of frame headers, limits, and the codes of its enumerations. */

import { MIB } from '../core/units.ts';

/** `WPF1` read as a little-endian u32. */
export const MAGIC = 0x31465057;
/** Length of the part every header begins with. */
export const COMMON_LENGTH = 32;
/** A whole header is never longer. */
export const MAX_HEADER_LENGTH = 512;
/** No frame may carry more payload, whatever OPEN says. */
export const MAX_PAYLOAD = MIB;
/** The limits our writer keeps to. */
export const MAX_WRITTEN_PAYLOAD = 256 * 1024;
export const MAX_WRITTEN_ELEMENTS = 64 * 1024;
export const MAX_RANK = 8;
/** The media type of a stream. */
export const WEIGHT_PATCH_TYPE = 'application/vnd.patchgate.weight-patch';

/** Frame types by code; 0 is not used. */
export const frameTypes = [undefined, 'open', 'tensor', 'patch', 'end'] as const;
export type FrameType = 'open' | 'tensor' | 'patch' | 'end';

/** The shortest header of each type, in bytes; PATCH and END headers always have this length. */
export const OPEN_LENGTH = 136;
export const TENSOR_LENGTH = 48;
export const PATCH_LENGTH = 72;
export const END_LENGTH = 120;
/** Set in the dtype byte of a TENSOR frame whose patches number words instead of elements. */
export const WORDS_FLAG = 0x80;

/** Operations by code. */
export const operations = ['set', 'add'] as const;
export type Operation = (typeof operations)[number];

/** Index encodings by code. */
export const indexEncodings = ['gap', 'run', 'bitmap', 'range'] as const;
export type IndexEncoding = (typeof indexEncodings)[number];

/** Value encodings by code. */
export const valueEncodings = ['f32', 'f16', 'bf16', 'i8'] as const;
export type ValueEncoding = (typeof valueEncodings)[number];

/** Bytes of one value. */
export const valueSizes = { f32: 4, f16: 2, bf16: 2, i8: 1 } as const satisfies Record<ValueEncoding, number>;

/** Rounds up to a multiple of 8. */
export function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/** Reads a u64; the result is exact if it is a safe integer. */
export function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x1_0000_0000;
}

/** Writes a safe integer as a u64; throws RangeError for any other number. */
export function writeU64(bytes: Buffer, value: number, at: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not a u64 below 2^53`);
  bytes.writeUInt32LE(value % 0x1_0000_0000, at);
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}
