/** Decodes one frame header, and checks everything that does not depend on the frames before it. */

import { decodePatch } from './decode-patch.ts';
import { dtypeBits, dtypes, elementCountOf } from './dtype.ts';
import { type Violation, violation } from './fault.ts';
import {
  type EndHeader,
  type FrameCommon,
  type Header,
  headerCrc,
  type OpenHeader,
  type TensorHeader,
} from './format.ts';
import { noPayload, safe, text, zero } from './header-fields.ts';
import {
  END_LENGTH,
  type FrameType,
  frameTypes,
  MAGIC,
  MAX_HEADER_LENGTH,
  MAX_PAYLOAD,
  MAX_RANK,
  OPEN_LENGTH,
  PATCH_LENGTH,
  readU64,
  TENSOR_LENGTH,
  WORDS_FLAG,
} from './layout.ts';
import { wordBytesOf } from './value.ts';

/** Bytes that `headerLengthOf` needs. */
export const PREFIX_LENGTH = 8;

/** The shortest and the longest header of each type. */
const lengths: Readonly<Record<FrameType, readonly [number, number]>> = {
  open: [OPEN_LENGTH, MAX_HEADER_LENGTH],
  tensor: [TENSOR_LENGTH, MAX_HEADER_LENGTH],
  patch: [PATCH_LENGTH, PATCH_LENGTH],
  end: [END_LENGTH, END_LENGTH],
};

/** The length of the header that begins with these 8 bytes. */
export function headerLengthOf(bytes: Buffer): number | Violation {
  if (bytes.readUInt32LE(0) !== MAGIC) return violation('magic', 'the frame does not begin with WPF1');
  const code = bytes.readUInt8(4);
  const type = frameTypes[code];
  if (type === undefined) return violation('type', `unknown frame type ${code}`);
  const length = bytes.readUInt16LE(6);
  const [shortest, longest] = lengths[type];
  if (length % 8 !== 0 || length < shortest || length > longest) {
    return violation('header-length', `a header of type ${type} cannot have ${length} bytes`);
  }
  return length;
}

export function isViolation(value: Header | Violation | number | undefined): value is Violation {
  return typeof value === 'object' && 'rule' in value;
}

/** Decodes one whole header. The result holds copies, so `bytes` may be reused. */
export function decodeHeader(bytes: Buffer): Header | Violation {
  if (bytes.length < PREFIX_LENGTH) return violation('truncated', 'the header is cut off');
  const headerLength = headerLengthOf(bytes);
  if (typeof headerLength !== 'number') return headerLength;
  if (bytes.length !== headerLength) {
    return violation('header-length', `the header has ${bytes.length} bytes, not ${headerLength}`);
  }
  if (bytes.readUInt32LE(28) !== headerCrc(bytes)) {
    return violation('header-crc', 'the header CRC does not match');
  }
  if (bytes.readUInt8(5) !== 0) return violation('reserved', 'the flags are not zero', 'flags');
  const common: FrameCommon = {
    headerLength,
    payloadLength: bytes.readUInt32LE(8),
    sequence: bytes.readUInt32LE(12),
    streamOffset: readU64(bytes, 16),
    payloadCrc: bytes.readUInt32LE(24),
  };
  if (!Number.isSafeInteger(common.streamOffset))
    return violation('bounds', 'the stream offset is above 2^53-1', 'stream_offset');
  return decodeOf[frameTypes[bytes.readUInt8(4)] ?? 'end'](bytes, common);
}

const decodeOf: Readonly<Record<FrameType, (bytes: Buffer, common: FrameCommon) => Header | Violation>> = {
  open: decodeOpen,
  tensor: decodeTensor,
  patch: decodePatch,
  end: decodeEnd,
};

function decodeOpen(bytes: Buffer, common: FrameCommon): OpenHeader | Violation {
  const modelIdLength = bytes.readUInt16LE(128);
  const open: OpenHeader = {
    ...common,
    type: 'open',
    streamId: Buffer.from(bytes.subarray(32, 48)),
    baseVersion: readU64(bytes, 48),
    targetVersion: readU64(bytes, 56),
    epoch: bytes.readUInt32LE(64),
    tensorCount: bytes.readUInt32LE(68),
    totalParams: readU64(bytes, 72),
    totalChanged: readU64(bytes, 80),
    threshold: bytes.readFloatLE(88),
    maxPayload: bytes.readUInt32LE(92),
    baseDigest: Buffer.from(bytes.subarray(96, 128)),
    modelId: bytes.toString('utf8', OPEN_LENGTH, OPEN_LENGTH + modelIdLength),
  };
  return (
    noPayload(common) ??
    safe(open.baseVersion, open.targetVersion, open.totalParams, open.totalChanged) ??
    text(bytes, OPEN_LENGTH, modelIdLength) ??
    zero(bytes, 130, OPEN_LENGTH) ??
    openBounds(open) ??
    open
  );
}

function openBounds(open: OpenHeader): Violation | undefined {
  if (!(open.threshold >= 0 && open.threshold < Number.POSITIVE_INFINITY)) {
    return violation('bounds', 'the threshold is not a finite number of at least 0', 'threshold');
  }
  if (open.totalChanged > open.totalParams) {
    return violation(
      'bounds',
      `${open.totalChanged} changes are more than ${open.totalParams} parameters`,
      'total_changed',
    );
  }
  return open.maxPayload > MAX_PAYLOAD
    ? violation(
        'payload-size',
        `max_payload is at most ${MAX_PAYLOAD} bytes, not ${open.maxPayload}`,
        'max_payload',
      )
    : undefined;
}

function decodeTensor(bytes: Buffer, common: FrameCommon): TensorHeader | Violation {
  const rank = bytes.readUInt8(37);
  if (rank > MAX_RANK)
    return violation('bounds', `a tensor has at most ${MAX_RANK} dimensions, not ${rank}`, 'rank');
  const code = bytes.readUInt8(36);
  const dtype = dtypes[code & ~WORDS_FLAG];
  if (dtype === undefined) return violation('encoding', `unknown dtype ${code}`, 'dtype');
  const nameAt = TENSOR_LENGTH + 8 * rank;
  if (nameAt > bytes.length) return violation('header-length', 'the shape does not fit into the header');
  const nameLength = bytes.readUInt16LE(38);
  const shape = Array.from({ length: rank }, (_, axis) => readU64(bytes, TENSOR_LENGTH + 8 * axis));
  const tensor: TensorHeader = {
    ...common,
    type: 'tensor',
    tensorId: bytes.readUInt32LE(32),
    dtype,
    words: code >= WORDS_FLAG,
    elementCount: readU64(bytes, 40),
    shape,
    name: bytes.toString('utf8', nameAt, nameAt + nameLength),
  };
  return (
    noPayload(common) ??
    safe(tensor.elementCount, ...shape) ??
    text(bytes, nameAt, nameLength) ??
    tensorBounds(tensor) ??
    tensor
  );
}

function tensorBounds({ dtype, words, shape, elementCount }: TensorHeader): Violation | undefined {
  if (elementCountOf(shape) !== elementCount) {
    return violation('bounds', `the shape does not have ${elementCount} elements`, 'element_count');
  }
  if (!words) return undefined;
  const bytes = wordBytesOf(dtype);
  if (bytes === undefined)
    return violation('encoding', `${dtype} elements are not patched in words`, 'dtype');
  if (shape.length !== 1) return violation('bounds', 'a tensor patched in words has one dimension', 'rank');
  return (elementCount * bytes * 8) % dtypeBits[dtype] === 0
    ? undefined
    : violation('bounds', `${elementCount} words do not make whole ${dtype} elements`, 'element_count');
}

function decodeEnd(bytes: Buffer, common: FrameCommon): EndHeader | Violation {
  const end: EndHeader = {
    ...common,
    type: 'end',
    frameCount: bytes.readUInt32LE(32),
    tensorCount: bytes.readUInt32LE(36),
    totalChanged: readU64(bytes, 40),
    totalBytes: readU64(bytes, 48),
    chain: Buffer.from(bytes.subarray(56, 88)),
    targetDigest: Buffer.from(bytes.subarray(88, 120)),
  };
  return noPayload(common) ?? safe(end.totalChanged, end.totalBytes) ?? end;
}
