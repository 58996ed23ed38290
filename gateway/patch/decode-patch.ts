/** The header of a PATCH frame: encodings, bounds, and lengths that agree with each other. */

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

/** Decodes what a PATCH header says beside what every header says; `bytes` are a whole one. */
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
  if (patch.count === 0) return violation('bounds', 'a patch changes at least one element', 'count');
  if (patch.lastIndex - patch.firstIndex + 1 < patch.count) {
    return violation('bounds', `${patch.count} elements do not fit from first to last index`, 'count');
  }
  if (patch.values === 'i8' && !Number.isFinite(patch.scale)) {
    return violation('bounds', 'the scale is not a finite number', 'scale');
  }
  return undefined;
}

/** Bytes of LEB128 a number below 2^35 may take. */
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
    return violation('payload-size', `a payload may have ${MAX_PAYLOAD} bytes, not ${patch.payloadLength}`);
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
    return violation('indices', 'a range changes every element from first to last index', 'count');
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
