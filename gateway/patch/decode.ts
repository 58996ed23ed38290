/** Reads one frame header: everything that can be said of it without knowing the frames before it. */

import { isUtf8 } from 'node:buffer';
import { dtypeBits, dtypes, elementCountOf } from './dtype.ts';
import { type Violation, violation } from './fault.ts';
import {
  type EndHeader,
  type FrameCommon,
  type Header,
  headerCrc,
  type OpenHeader,
  type PatchHeader,
  type TensorHeader,
} from './format.ts';
import {
  endLength,
  type FrameType,
  frameTypes,
  hardMaxPayload,
  type IndexEncoding,
  indexEncodings,
  magic,
  maxHeaderLength,
  maxRank,
  openLength,
  operations,
  padded,
  patchLength,
  readU64,
  tensorLength,
  valueEncodings,
  valueSizes,
  wordsFlag,
} from './layout.ts';
import { wordBytesOf } from './value.ts';

/** Bytes that must be there before `headerLengthOf` can tell the length. */
export const prefixLength = 8;

/** The longest and the shortest header of each type. */
const lengths: Readonly<Record<FrameType, readonly [number, number]>> = {
  open: [openLength, maxHeaderLength],
  tensor: [tensorLength, maxHeaderLength],
  patch: [patchLength, patchLength],
  end: [endLength, endLength],
};

/** The length of the header that begins with these 8 bytes. */
export function headerLengthOf(bytes: Buffer): number | Violation {
  if (bytes.readUInt32LE(0) !== magic) return violation('magic', 'the frame does not begin with WPF1');
  const code = bytes.readUInt8(4);
  const type = frameTypes[code];
  if (type === undefined) return violation('type', `there is no frame type ${code}`);
  const length = bytes.readUInt16LE(6);
  const [shortest, longest] = lengths[type];
  if (length % 8 !== 0 || length < shortest || length > longest) {
    return violation('header-length', `a header of type ${type} cannot have ${length} bytes`);
  }
  return length;
}

/** Tells a violation from a decoded header. */
export function isViolation(value: Header | Violation | number | undefined): value is Violation {
  return typeof value === 'object' && 'rule' in value;
}

/** Decodes one whole header. The result holds copies, so `bytes` may be used again. */
export function decodeHeader(bytes: Buffer): Header | Violation {
  if (bytes.length < prefixLength) return violation('truncated', 'the header is cut off');
  const headerLength = headerLengthOf(bytes);
  if (typeof headerLength !== 'number') return headerLength;
  if (bytes.length !== headerLength) {
    return violation('header-length', `the header has ${bytes.length} bytes and says ${headerLength}`);
  }
  if (bytes.readUInt32LE(28) !== headerCrc(bytes)) {
    return violation('header-crc', 'the header CRC does not match');
  }
  if (bytes.readUInt8(5) !== 0) return violation('reserved', 'the flags are not zero');
  const common: FrameCommon = {
    headerLength,
    payloadLength: bytes.readUInt32LE(8),
    sequence: bytes.readUInt32LE(12),
    streamOffset: readU64(bytes, 16),
    payloadCrc: bytes.readUInt32LE(24),
  };
  if (!Number.isSafeInteger(common.streamOffset))
    return violation('bounds', 'the stream offset is above 2^53-1');
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
    modelId: bytes.toString('utf8', openLength, openLength + modelIdLength),
  };
  return (
    noPayload(common) ??
    safe(open.baseVersion, open.targetVersion, open.totalParams, open.totalChanged) ??
    text(bytes, openLength, modelIdLength) ??
    zero(bytes, 130, openLength) ??
    openBounds(open) ??
    open
  );
}

function openBounds(open: OpenHeader): Violation | undefined {
  if (!(open.threshold >= 0 && open.threshold < Number.POSITIVE_INFINITY)) {
    return violation('bounds', 'the threshold is not a number from 0 up');
  }
  if (open.totalChanged > open.totalParams) {
    return violation('bounds', `${open.totalChanged} changes are more than ${open.totalParams} parameters`);
  }
  return open.maxPayload > hardMaxPayload
    ? violation('payload-size', `a payload may have ${hardMaxPayload} bytes, not ${open.maxPayload}`)
    : undefined;
}

function decodeTensor(bytes: Buffer, common: FrameCommon): TensorHeader | Violation {
  const rank = bytes.readUInt8(37);
  if (rank > maxRank) return violation('bounds', `a tensor has at most ${maxRank} dimensions, not ${rank}`);
  const code = bytes.readUInt8(36);
  const dtype = dtypes[code & ~wordsFlag];
  if (dtype === undefined) return violation('encoding', `there is no dtype ${code}`);
  const nameAt = tensorLength + 8 * rank;
  if (nameAt > bytes.length) return violation('header-length', 'the shape does not fit into the header');
  const nameLength = bytes.readUInt16LE(38);
  const shape = Array.from({ length: rank }, (_, axis) => readU64(bytes, tensorLength + 8 * axis));
  const tensor: TensorHeader = {
    ...common,
    type: 'tensor',
    tensorId: bytes.readUInt32LE(32),
    dtype,
    words: code >= wordsFlag,
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
    return violation('bounds', `the shape does not have ${elementCount} elements`);
  }
  if (!words) return undefined;
  const bytes = wordBytesOf(dtype);
  if (bytes === undefined) return violation('encoding', `${dtype} elements are not patched in words`);
  if (shape.length !== 1) return violation('bounds', 'words have one dimension');
  return (elementCount * bytes * 8) % dtypeBits[dtype] === 0
    ? undefined
    : violation('bounds', `${elementCount} words are no whole ${dtype} elements`);
}

function decodePatch(bytes: Buffer, common: FrameCommon): PatchHeader | Violation {
  const operation = operations[bytes.readUInt8(56)];
  const indices = indexEncodings[bytes.readUInt8(57)];
  const values = valueEncodings[bytes.readUInt8(58)];
  if (operation === undefined || indices === undefined || values === undefined) {
    return violation('encoding', 'the operation, index or value encoding is unknown');
  }
  const patch: PatchHeader = {
    ...common,
    type: 'patch',
    tensorId: bytes.readUInt32LE(32),
    count: bytes.readUInt32LE(36),
    firstIndex: readU64(bytes, 40),
    lastIndex: readU64(bytes, 48),
    operation,
    indices,
    values,
    indexLength: bytes.readUInt32LE(60),
    scale: bytes.readFloatLE(64),
  };
  return (
    zero(bytes, 59, 60) ??
    zero(bytes, 68, 72) ??
    safe(patch.firstIndex, patch.lastIndex) ??
    patchBounds(patch) ??
    patchLengths(patch) ??
    patch
  );
}

function patchBounds(patch: PatchHeader): Violation | undefined {
  if (patch.count === 0) return violation('bounds', 'a patch changes at least one element');
  if (patch.lastIndex - patch.firstIndex + 1 < patch.count) {
    return violation('bounds', `${patch.count} elements do not fit from first to last index`);
  }
  if (patch.values === 'i8' && !Number.isFinite(patch.scale)) {
    return violation('bounds', 'the scale is not a finite number');
  }
  return undefined;
}

/** Bytes of LEB128 a number below 2^35 may take. */
export const maxLebLength = 5;

/** The fewest and the most bytes the indices of a patch can take. */
const indexLengths: Readonly<Record<IndexEncoding, (patch: PatchHeader) => readonly [number, number]>> = {
  gap: ({ count }) => [count - 1, maxLebLength * (count - 1)],
  run: ({ count }) => [2, 2 * maxLebLength * count],
  bitmap: (patch) => {
    const bytes = Math.ceil((patch.lastIndex - patch.firstIndex + 1) / 8);
    return [bytes, bytes];
  },
  range: () => [0, 0],
};

function patchLengths(patch: PatchHeader): Violation | undefined {
  if (patch.payloadLength > hardMaxPayload) {
    return violation(
      'payload-size',
      `a payload may have ${hardMaxPayload} bytes, not ${patch.payloadLength}`,
    );
  }
  const [fewest, most] = indexLengths[patch.indices](patch);
  if (patch.indexLength < fewest || patch.indexLength > most) {
    return violation('indices', `${patch.indexLength} index bytes cannot encode this ${patch.indices} patch`);
  }
  if (patch.indices === 'range' && patch.count !== patch.lastIndex - patch.firstIndex + 1) {
    return violation('indices', 'a range changes every element from first to last index');
  }
  const length = padded(patch.count * valueSizes[patch.values] + patch.indexLength);
  return length === patch.payloadLength
    ? undefined
    : violation('bounds', `values and indices take ${length} bytes, not ${patch.payloadLength}`);
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

function noPayload(common: FrameCommon): Violation | undefined {
  if (common.payloadLength !== 0) return violation('bounds', 'only a patch has a payload');
  return common.payloadCrc === 0 ? undefined : violation('payload-crc', 'the CRC of no payload is 0');
}

function safe(...numbers: readonly number[]): Violation | undefined {
  return numbers.every(Number.isSafeInteger) ? undefined : violation('bounds', 'a number is above 2^53-1');
}

function zero(bytes: Buffer, from: number, to: number): Violation | undefined {
  for (let at = from; at < to; at++) {
    if (bytes[at] !== 0) return violation('reserved', `byte ${at} of the header is not zero`);
  }
  return undefined;
}

/** UTF-8 that fills the rest of the header but for its padding, which is zero. */
function text(bytes: Buffer, at: number, length: number): Violation | undefined {
  if (at + padded(length) !== bytes.length) {
    return violation('header-length', 'the name does not fill the header');
  }
  if (!isUtf8(bytes.subarray(at, at + length))) return violation('encoding', 'the name is not UTF-8');
  return zero(bytes, at + length, bytes.length);
}
