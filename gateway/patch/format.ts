/** The four frame headers of WPF1 as plain data, and their encoders. */

import { crc32 } from 'node:zlib';
import { type Dtype, dtypes } from './dtype.ts';
import {
  COMMON_LENGTH,
  END_LENGTH,
  frameTypes,
  type IndexEncoding,
  indexEncodings,
  MAGIC,
  MAX_HEADER_LENGTH,
  OPEN_LENGTH,
  type Operation,
  operations,
  PATCH_LENGTH,
  padded,
  TENSOR_LENGTH,
  type ValueEncoding,
  valueEncodings,
  WORDS_FLAG,
  writeU64,
} from './layout.ts';

/** The place of a frame in its stream. */
export interface FramePlace {
  /** 0, 1, 2 … */
  readonly sequence: number;
  /** Bytes of the stream before this frame. */
  readonly streamOffset: number;
}

/** The fields of every header. */
export interface FrameCommon extends FramePlace {
  /** Bytes of this header, a multiple of 8. */
  readonly headerLength: number;
  readonly payloadLength: number;
  /** CRC-32 (ISO-HDLC) of the payload. */
  readonly payloadCrc: number;
}

/** The fields of OPEN, which describe the stream. */
export interface OpenFields {
  /** 16 bytes that name the stream. */
  readonly streamId: Buffer;
  readonly baseVersion: number;
  readonly targetVersion: number;
  readonly epoch: number;
  /** How many TENSOR frames follow. */
  readonly tensorCount: number;
  /** Elements of the whole model, changed or not. */
  readonly totalParams: number;
  /** Changed elements of all PATCH frames; 0 if the writer does not know. */
  readonly totalChanged: number;
  /** Changes up to this size were left out; 0 is exact to the bit. */
  readonly threshold: number;
  /** The largest payload of any frame, in bytes. */
  readonly maxPayload: number;
  /** Digest of the model the patch is for, 32 bytes (see digest.ts). */
  readonly baseDigest: Buffer;
  readonly modelId: string;
}

/** A tensor that the following patches are for. */
export interface TensorFields {
  /** Strictly increasing through a stream; our writer takes the position in name order. */
  readonly tensorId: number;
  readonly dtype: Dtype;
  /** Whether frames number words, not elements; `elementCount` and the one dimension of `shape` then count words. */
  readonly words?: boolean;
  readonly elementCount: number;
  readonly shape: readonly number[];
  readonly name: string;
}

/** The fields of PATCH, which describe its payload. */
export interface PatchFields {
  readonly tensorId: number;
  /** Changed elements of this frame. */
  readonly count: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly operation: Operation;
  readonly indices: IndexEncoding;
  readonly values: ValueEncoding;
  /** Bytes of encoded indices, which directly follow the values. */
  readonly indexLength: number;
  /** The factor of i8 values; meaningless for other encodings. */
  readonly scale: number;
}

/** The fields of END, which sum up the stream. */
export interface EndFields {
  /** Frames of the stream, OPEN and END included. */
  readonly frameCount: number;
  readonly tensorCount: number;
  readonly totalChanged: number;
  /** Bytes of the stream, END included. */
  readonly totalBytes: number;
  /** The chain over every header before END (see chain.ts). */
  readonly chain: Buffer;
  /** Digest of the model the patch makes. */
  readonly targetDigest: Buffer;
}

export interface OpenHeader extends FrameCommon, OpenFields {
  readonly type: 'open';
}
export interface TensorHeader extends FrameCommon, TensorFields {
  readonly type: 'tensor';
}
export interface PatchHeader extends FrameCommon, PatchFields {
  readonly type: 'patch';
}
export interface EndHeader extends FrameCommon, EndFields {
  readonly type: 'end';
}
export type Header = OpenHeader | TensorHeader | PatchHeader | EndHeader;

const ZERO_FIELD = Buffer.alloc(4);

/** CRC of a header with its own CRC field taken as 0. */
export function headerCrc(header: Buffer): number {
  const before = crc32(ZERO_FIELD, crc32(header.subarray(0, COMMON_LENGTH - 4)));
  return crc32(header.subarray(COMMON_LENGTH), before);
}

/** Writes the header's CRC into it and returns it. */
export function sealHeader(header: Buffer): Buffer {
  header.writeUInt32LE(headerCrc(header), COMMON_LENGTH - 4);
  return header;
}

function begin(type: 'open' | 'tensor' | 'patch' | 'end', length: number, place: FramePlace): Buffer {
  if (length > MAX_HEADER_LENGTH)
    throw new RangeError(`a header has at most ${MAX_HEADER_LENGTH} bytes, not ${length}`);
  const header = Buffer.alloc(length);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt8(frameTypes.indexOf(type), 4);
  header.writeUInt16LE(length, 6);
  header.writeUInt32LE(place.sequence, 12);
  writeU64(header, place.streamOffset, 16);
  return header;
}

/** Encodes the OPEN frame. Throws RangeError if the model id does not fit into a header. */
export function encodeOpen(open: OpenFields, place: FramePlace = { sequence: 0, streamOffset: 0 }): Buffer {
  const modelId = Buffer.from(open.modelId);
  const header = begin('open', OPEN_LENGTH + padded(modelId.length), place);
  open.streamId.copy(header, 32, 0, 16);
  writeU64(header, open.baseVersion, 48);
  writeU64(header, open.targetVersion, 56);
  header.writeUInt32LE(open.epoch, 64);
  header.writeUInt32LE(open.tensorCount, 68);
  writeU64(header, open.totalParams, 72);
  writeU64(header, open.totalChanged, 80);
  header.writeFloatLE(open.threshold, 88);
  header.writeUInt32LE(open.maxPayload, 92);
  open.baseDigest.copy(header, 96, 0, 32);
  header.writeUInt16LE(modelId.length, 128);
  modelId.copy(header, OPEN_LENGTH);
  return sealHeader(header);
}

/** Encodes a TENSOR frame. Throws RangeError if name and shape do not fit into a header. */
export function encodeTensor(tensor: TensorFields, place: FramePlace): Buffer {
  const name = Buffer.from(tensor.name);
  const nameAt = TENSOR_LENGTH + 8 * tensor.shape.length;
  const header = begin('tensor', nameAt + padded(name.length), place);
  header.writeUInt32LE(tensor.tensorId, 32);
  header.writeUInt8(dtypes.indexOf(tensor.dtype) | (tensor.words ? WORDS_FLAG : 0), 36);
  header.writeUInt8(tensor.shape.length, 37);
  header.writeUInt16LE(name.length, 38);
  writeU64(header, tensor.elementCount, 40);
  for (const [axis, size] of tensor.shape.entries()) writeU64(header, size, TENSOR_LENGTH + 8 * axis);
  name.copy(header, nameAt);
  return sealHeader(header);
}

/** Encodes the header of a PATCH frame for the given payload. */
export function encodePatch(patch: PatchFields, payload: Buffer, place: FramePlace): Buffer {
  const header = begin('patch', PATCH_LENGTH, place);
  header.writeUInt32LE(payload.length, 8);
  header.writeUInt32LE(crc32(payload), 24);
  header.writeUInt32LE(patch.tensorId, 32);
  header.writeUInt32LE(patch.count, 36);
  writeU64(header, patch.firstIndex, 40);
  writeU64(header, patch.lastIndex, 48);
  header.writeUInt8(operations.indexOf(patch.operation), 56);
  header.writeUInt8(indexEncodings.indexOf(patch.indices), 57);
  header.writeUInt8(valueEncodings.indexOf(patch.values), 58);
  header.writeUInt32LE(patch.indexLength, 60);
  header.writeFloatLE(patch.scale, 64);
  return sealHeader(header);
}

/** Encodes the END frame. */
export function encodeEnd(end: EndFields, place: FramePlace): Buffer {
  const header = begin('end', END_LENGTH, place);
  header.writeUInt32LE(end.frameCount, 32);
  header.writeUInt32LE(end.tensorCount, 36);
  writeU64(header, end.totalChanged, 40);
  writeU64(header, end.totalBytes, 48);
  end.chain.copy(header, 56, 0, 32);
  end.targetDigest.copy(header, 88, 0, 32);
  return sealHeader(header);
}
