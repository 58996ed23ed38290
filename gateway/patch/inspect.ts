/** Inspects a weight patch on disk: reads it by frames, sums up each tensor, keeps the bytes of the first fault. */

import { type FileHandle, open } from 'node:fs/promises';
import type { PatchCheckMode } from './check.ts';
import { type Dtype, dtypeBits } from './dtype.ts';
import { type PatchFault, PatchFaultError } from './fault.ts';
import type { EndFields, FrameCommon, OpenFields, PatchHeader, TensorHeader } from './format.ts';
import { type Field, fieldOf } from './header-layout.ts';
import {
  type FrameType,
  frameTypes,
  type IndexEncoding,
  MAX_HEADER_LENGTH,
  MAX_PAYLOAD,
  type Operation,
  type ValueEncoding,
  valueSizes,
} from './layout.ts';
import { type Frame, readFrames } from './read.ts';

/** The number of patches by operation or encoding. */
type Counts<Name extends string> = Partial<Record<Name, number>>;

/** Sums over the patches of one tensor. */
export interface TensorSummary {
  readonly id: number;
  readonly name: string;
  readonly dtype: Dtype;
  /** Whether `shape`, `elements` and `changed` count words, not elements. */
  readonly words: boolean;
  readonly shape: readonly number[];
  readonly elements: number;
  /** Bytes of the whole tensor. */
  readonly tensorBytes: number;
  patches: number;
  changed: number;
  valueBytes: number;
  indexBytes: number;
  readonly operations: Counts<Operation>;
  readonly indices: Counts<IndexEncoding>;
  readonly values: Counts<ValueEncoding>;
}

/** The frame a fault is in. */
export interface FaultyFrame {
  readonly fault: PatchFault;
  /** Its bytes as far as the file has them; at most 64 if the length of the frame is unknown. */
  readonly bytes: Buffer;
  /** The field that is wrong, if known. */
  readonly field: Field | undefined;
}

export interface Inspection {
  /** Bytes of the file. */
  readonly bytes: number;
  frames: number;
  changed: number;
  open?: OpenFields;
  readonly tensors: TensorSummary[];
  /** Absent unless the stream ended properly. */
  end?: EndFields;
  faulty?: FaultyFrame;
}

/**
 * Reads a stream of any size from a file, with the given check. Memory grows only with the number of tensors. Calls
 * `onFrame` for every verified frame. Rejects if the file cannot be read.
 */
export async function inspectPatch(
  path: string,
  mode: PatchCheckMode,
  onFrame: (frame: FrameCommon, type: FrameType) => void = () => undefined,
): Promise<Inspection> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const inspection: Inspection = { bytes: size, frames: 0, changed: 0, tensors: [] };
    try {
      for await (const frame of readFrames(claimedFrames(file, size), mode)) {
        note(inspection, frame);
        onFrame(frame.header, frame.header.type);
      }
    } catch (error) {
      if (!(error instanceof PatchFaultError)) throw error;
      const { fault } = error;
      inspection.faulty = faultyFrame(fault, await readAt(file, fault.offset, MAX_FRAME_BYTES));
    }
    return inspection;
  } finally {
    await file.close();
  }
}

const MAX_FRAME_BYTES = MAX_HEADER_LENGTH + MAX_PAYLOAD;
/** The end of the fields that give the length of a frame. */
const LENGTHS_END = 12;

/** Yields the file in pieces that end where frames claim to end, so that a faulty frame holds back no good ones. */
async function* claimedFrames(file: FileHandle, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    const head = await readAt(file, at, LENGTHS_END);
    const claimed = head.length < LENGTHS_END ? 0 : head.readUInt16LE(6) + head.readUInt32LE(8);
    const piece = await readAt(file, at, Math.min(Math.max(claimed, LENGTHS_END), MAX_FRAME_BYTES));
    if (piece.length === 0) return;
    yield piece;
    at += piece.length;
  }
}

/** Reads `length` bytes from `position` on; fewer at the end of the file. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** The frame, as long as its header says or as much of it as there is. */
function faultyFrame(fault: PatchFault, there: Buffer): FaultyFrame {
  const type = there.length > 4 ? frameTypes[there.readUInt8(4)] : undefined;
  const told = there.length < 12 || type === undefined ? 64 : there.readUInt16LE(6) + there.readUInt32LE(8);
  const bytes = there.subarray(0, told);
  return { fault, bytes, field: fieldOf(bytes, type, fault.rule, fault.field) };
}

function note(inspection: Inspection, { header }: Frame): void {
  inspection.frames += 1;
  if (header.type === 'open') inspection.open = header;
  if (header.type === 'end') inspection.end = header;
  if (header.type === 'tensor') inspection.tensors.push(summaryOf(header));
  const tensor = inspection.tensors.at(-1);
  if (header.type !== 'patch' || tensor === undefined) return;
  inspection.changed += header.count;
  add(tensor, header);
}

function summaryOf({
  tensorId,
  name,
  dtype,
  words = false,
  shape,
  elementCount,
}: TensorHeader): TensorSummary {
  const bits = words ? Math.max(8, Math.min(32, dtypeBits[dtype])) : dtypeBits[dtype];
  return {
    id: tensorId,
    name,
    dtype,
    words,
    shape,
    elements: elementCount,
    tensorBytes: (elementCount * bits) / 8,
    patches: 0,
    changed: 0,
    valueBytes: 0,
    indexBytes: 0,
    operations: {},
    indices: {},
    values: {},
  };
}

function add(tensor: TensorSummary, patch: PatchHeader): void {
  tensor.patches += 1;
  tensor.changed += patch.count;
  tensor.valueBytes += patch.count * valueSizes[patch.values];
  tensor.indexBytes += patch.indexLength;
  count(tensor.operations, patch.operation);
  count(tensor.indices, patch.indices);
  count(tensor.values, patch.values);
}

function count<Name extends string>(counts: Counts<Name>, name: Name): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
