/** Encodes the indices of one PATCH frame in the smallest of the four encodings, and decodes them. */

import { type Violation, violation } from './fault.ts';
import type { PatchFields } from './format.ts';
import { createIndexChecks } from './index-check.ts';
import type { IndexEncoding } from './layout.ts';

/** The smallest gap that does not fit into 5 bytes of LEB128; the writer begins a new frame instead. */
export const GAP_LIMIT = 2 ** 35;

/** Strictly ascending element numbers; at least one. */
export type Indices = Float64Array;

/** The bytes each encoding takes; Infinity if `range` cannot hold the indices. Gaps must be below `GAP_LIMIT`. */
export function indexSizes(indices: Indices): Readonly<Record<IndexEncoding, number>> {
  const first = indices[0] ?? 0;
  const span = (indices.at(-1) ?? first) - first + 1;
  let gap = 0;
  let run = 1;
  let runLength = 1;
  for (let k = 1; k < indices.length; k++) {
    const skipped = gapBefore(indices, k);
    const bytes = lebLength(skipped);
    gap += bytes;
    if (skipped === 0) {
      runLength += 1;
    } else {
      run += lebLength(runLength - 1) + bytes;
      runLength = 1;
    }
  }
  run += lebLength(runLength - 1);
  const range = span === indices.length ? 0 : Number.POSITIVE_INFINITY;
  return { gap, run, bitmap: Math.ceil(span / 8), range };
}

/** The encoding with the smallest size; among equals, the one that is cheapest to decode. */
export function smallest(sizes: Readonly<Record<IndexEncoding, number>>): IndexEncoding {
  let best: IndexEncoding = 'range';
  for (const encoding of ['bitmap', 'run', 'gap'] as const) {
    if (sizes[encoding] < sizes[best]) best = encoding;
  }
  return best;
}

/** Encodes in the given encoding. `range` takes only consecutive indices. */
export function encodeIndices(encoding: IndexEncoding, indices: Indices): Buffer {
  return encoders[encoding](indices, Buffer.alloc(indexSizes(indices)[encoding]));
}

const encoders: Readonly<Record<IndexEncoding, (indices: Indices, bytes: Buffer) => Buffer>> = {
  gap: encodeGaps,
  run: encodeRuns,
  bitmap: encodeBitmap,
  range: (_, bytes) => bytes,
};

function encodeGaps(indices: Indices, bytes: Buffer): Buffer {
  let at = 0;
  for (let k = 1; k < indices.length; k++) at = writeLeb(bytes, at, gapBefore(indices, k));
  return bytes;
}

function encodeRuns(indices: Indices, bytes: Buffer): Buffer {
  let at = writeLeb(bytes, 0, 0);
  let begun = 0;
  for (let k = 1; k < indices.length; k++) {
    const skipped = gapBefore(indices, k);
    if (skipped === 0) continue;
    at = writeLeb(bytes, at, k - begun - 1);
    at = writeLeb(bytes, at, skipped);
    begun = k;
  }
  writeLeb(bytes, at, indices.length - begun - 1);
  return bytes;
}

function encodeBitmap(indices: Indices, bytes: Buffer): Buffer {
  const first = indices[0] ?? 0;
  for (const index of indices) {
    const bit = index - first;
    const at = Math.floor(bit / 8);
    bytes[at] = (bytes[at] ?? 0) | (1 << (bit % 8));
  }
  return bytes;
}

/** Elements between an index and the one before it. */
function gapBefore(indices: Indices, k: number): number {
  return (indices[k] as number) - (indices[k - 1] as number) - 1;
}

function lebLength(value: number): number {
  if (value < 2 ** 7) return 1;
  if (value < 2 ** 14) return 2;
  if (value < 2 ** 21) return 3;
  return value < 2 ** 28 ? 4 : 5;
}

/** Writes the shortest LEB128 of a number below 2^35, e.g. ac 02 for 300; returns where it ends. */
function writeLeb(bytes: Buffer, at: number, value: number): number {
  while (value >= 0x80) {
    bytes[at++] = (value % 0x80) | 0x80;
    value = Math.floor(value / 0x80);
  }
  bytes[at++] = value;
  return at;
}

/**
 * Decodes the indices of a frame and checks them against its header, so that none is out of its bounds. They are put
 * into `room` if it is large enough.
 */
export function decodeIndices(patch: PatchFields, bytes: Buffer, room?: Indices): Indices | Violation {
  const { count } = patch;
  const indices =
    room === undefined || room.length < count ? new Float64Array(count) : room.subarray(0, count);
  const wrong =
    patch.indices === 'gap' ? decodeGaps(patch, bytes, indices) : decodeChecked(patch, bytes, indices);
  return wrong === undefined ? indices : violation('indices', wrong);
}

/** Checks the bytes against the header first, so that the decoders need not check anything. */
function decodeChecked(patch: PatchFields, bytes: Buffer, indices: Indices): string | undefined {
  const check = createIndexChecks()[patch.indices];
  check.begin(patch);
  const wrong = (bytes.length > 0 ? check.take(bytes, 0, bytes.length) : undefined) ?? check.finish();
  if (wrong === undefined && patch.indices !== 'gap') decoders[patch.indices](patch, bytes, indices);
  return wrong;
}

type Decoder = (patch: PatchFields, bytes: Buffer, indices: Indices) => void;

const decoders: Readonly<Record<Exclude<IndexEncoding, 'gap'>, Decoder>> = {
  run: decodeRuns,
  bitmap: decodeBitmap,
  range: ({ firstIndex, count }, _, indices) => {
    for (let k = 0; k < count; k++) indices[k] = firstIndex + k;
  },
};

/** Checks and decodes in one pass: most patches use gaps, and whatever checked them before was somebody else. */
function decodeGaps(
  { firstIndex, lastIndex, count }: PatchFields,
  bytes: Buffer,
  indices: Indices,
): string | undefined {
  let at = 0;
  let index = firstIndex;
  indices[0] = index;
  for (let k = 1; k < count; k++) {
    let byte = bytes[at++] as number;
    index += (byte & 0x7f) + 1;
    for (let weight = 0x80; byte >= 0x80; weight *= 0x80) {
      if (weight === GAP_LIMIT) return 'a varint is longer than 5 bytes';
      byte = bytes[at++] as number;
      if (byte === 0) return 'a varint is not minimal';
      index += (byte & 0x7f) * weight;
    }
    indices[k] = index;
  }
  // Missing bytes were read as undefined, which counts as 0, and leave `at` beyond the end.
  const isWhole = at === bytes.length && index === lastIndex;
  return isWhole ? undefined : `index ${count} is ${index}, not ${lastIndex}, or is not the last one encoded`;
}

function decodeRuns({ firstIndex, count }: PatchFields, bytes: Buffer, indices: Indices): void {
  let at = 0;
  let index = firstIndex;
  let k = 0;
  const next = () => {
    let value = 0;
    let weight = 1;
    let byte = bytes[at++] as number;
    for (; byte >= 0x80; byte = bytes[at++] as number) {
      value += (byte & 0x7f) * weight;
      weight *= 0x80;
    }
    return value + byte * weight;
  };
  while (k < count) {
    index += next();
    for (const end = k + next() + 1; k < end; k++) indices[k] = index++;
  }
}

function decodeBitmap({ firstIndex }: PatchFields, bytes: Buffer, indices: Indices): void {
  let k = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (let byte = bytes[at] as number; byte !== 0; byte &= byte - 1) {
      // byte & -byte is the lowest set bit: 0b0110_1000 gives 0b1000, whose place is 31 - clz32 = 3.
      indices[k++] = firstIndex + at * 8 + (31 - Math.clz32(byte & -byte));
    }
  }
}
