/** Decodes the header of a PATCH frame: encodings, bounds, and lengths that must agree with each other. */

import { type Violation, violation } from './fault.ts';
import type { FrameCommon, PatchHeader } from './format.ts';
import { safe, zero } from './header-fields.ts';
import {
  type IndexEncoding,
  indexEncodings,
  MAX_PAYLOAD,
  operations,
  padded,
  readU64,
  valueEncodings,
  valueSizes,
} from './layout.ts';

/** Decodes the fields only a PATCH header has and adds them to `common`; `bytes` is one whole header. */
export function decodePatch(bytes: Buffer, common: FrameCommon): PatchHeader | Violation {
  const operation = operations[bytes.readUInt8(56)];
  const indices = indexEncodings[bytes.readUInt8(57)];
  const values = valueEncodings[bytes.readUInt8(58)];
  if (operation === undefined || indices === undefined || values === undefined) {
    const field = operation === undefined ? 'operation' : indices === undefined ? 'indices' : 'values';
    return violation('encoding', 'the operation, index or value encoding is unknown', field);
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
  if (patch.count === 0) return violation('bounds', 'the patch changes no element', 'count');
  if (patch.lastIndex - patch.firstIndex + 1 < patch.count) {
    return violation(
      'bounds',
      `${patch.count} elements do not fit between the first and the last index`,
      'count',
    );
  }
  if (patch.values === 'i8' && !Number.isFinite(patch.scale)) {
    return violation('bounds', 'the scale is not a finite number', 'scale');
  }
  return undefined;
}

/** The most bytes LEB128 takes for a number below 2^35. */
const MAX_LEB_LENGTH = 5;

/** The fewest and the most bytes the indices of a patch can take. */
const indexLengths: Readonly<Record<IndexEncoding, (patch: PatchHeader) => readonly [number, number]>> = {
  gap: ({ count }) => [count - 1, MAX_LEB_LENGTH * (count - 1)],
  run: ({ count }) => [2, 2 * MAX_LEB_LENGTH * count],
  bitmap: (patch) => {
    const bytes = Math.ceil((patch.lastIndex - patch.firstIndex + 1) / 8);
    return [bytes, bytes];
  },
  range: () => [0, 0],
};

function patchLengths(patch: PatchHeader): Violation | undefined {
  if (patch.payloadLength > MAX_PAYLOAD) {
    return violation(
      'payload-size',
      `a payload has at most ${MAX_PAYLOAD} bytes, this one ${patch.payloadLength}`,
    );
  }
  const [fewest, most] = indexLengths[patch.indices](patch);
  if (patch.indexLength < fewest || patch.indexLength > most) {
    return violation(
      'indices',
      `${patch.indexLength} index bytes cannot encode this ${patch.indices} patch`,
      'index_length',
    );
  }
  if (patch.indices === 'range' && patch.count !== patch.lastIndex - patch.firstIndex + 1) {
    return violation(
      'indices',
      'a range must change every element from the first to the last index',
      'count',
    );
  }
  const length = padded(patch.count * valueSizes[patch.values] + patch.indexLength);
  return length === patch.payloadLength
    ? undefined
    : violation(
        'bounds',
        `values and indices take ${length} bytes, not ${patch.payloadLength}`,
        'payload_length',
      );
}
