/** The lies of a PATCH frame with valid CRCs, each with the rule it breaks and the encodings it fits. */

import type { PatchFaultRule } from '../../gateway/patch/fault.ts';
import type { PatchFields } from '../../gateway/patch/format.ts';
import { encodeIndices } from '../../gateway/patch/index-encoding.ts';
import { indexEncodings, operations, valueEncodings, valueSizes } from '../../gateway/patch/layout.ts';
import { begun, CraftedStream } from './crafted-stream.ts';

export const forms = indexEncodings.flatMap((indices) =>
  valueEncodings.flatMap((values) => operations.map((operation) => ({ indices, values, operation }))),
);
type Form = (typeof forms)[number];

/** A good patch of four elements, 7 to 10 or 7 to 20. */
export function goodPatch({ indices, values, operation }: Form): {
  fields: Partial<PatchFields>;
  index: number[];
} {
  const numbers = indices === 'range' ? [7, 8, 9, 10] : [7, 8, 9, 20];
  const lastIndex = numbers.at(-1) ?? 0;
  const scale = values === 'i8' ? 0.5 : 0;
  return {
    fields: { count: 4, firstIndex: 7, lastIndex, indices, values, operation, scale },
    index: [...encodeIndices(indices, Float64Array.from(numbers))],
  };
}

interface Lie {
  readonly title: string;
  readonly rule: PatchFaultRule;
  readonly frame?: number;
  /** Makes the stream up to END, around a good patch. */
  build(form: Form): CraftedStream | Buffer;
  readonly fits?: (form: Form) => boolean;
}

/** The good patch with its header changed and sealed again. */
const header =
  (lie: (header: Buffer) => void) =>
  (form: Form): CraftedStream => {
    const { fields, index } = goodPatch(form);
    return begun().patch(fields, index, lie);
  };
/** The good patch with some of its fields or index bytes replaced before encoding. */
const told =
  (more: Partial<PatchFields>, change: (index: number[]) => number[] = (index) => index) =>
  (form: Form): CraftedStream => {
    const { fields, index } = goodPatch(form);
    return begun().patch({ ...fields, ...more }, change(index));
  };

const u64 = (value: bigint, at: number) => (bytes: Buffer) => bytes.writeBigUInt64LE(value, at);
const of =
  (...encodings: string[]) =>
  ({ indices }: Form) =>
    encodings.includes(indices);

export const lies: readonly Lie[] = [
  { title: 'flags', rule: 'reserved', build: header((h) => h.writeUInt8(0x80, 5)) },
  { title: 'byte 59', rule: 'reserved', build: header((h) => h.writeUInt8(1, 59)) },
  { title: 'byte 71', rule: 'reserved', build: header((h) => h.writeUInt8(1, 71)) },
  { title: 'operation 2', rule: 'encoding', build: header((h) => h.writeUInt8(2, 56)) },
  { title: 'index encoding 4', rule: 'encoding', build: header((h) => h.writeUInt8(4, 57)) },
  { title: 'value encoding 255', rule: 'encoding', build: header((h) => h.writeUInt8(255, 58)) },
  {
    title: 'a payload of 4 GiB',
    rule: 'payload-size',
    build: header((h) => h.writeUInt32LE(0xffff_fff8, 8)),
  },
  {
    title: 'a payload 8 bytes longer',
    rule: 'bounds',
    build: header((h) => h.writeUInt32LE(h.readUInt32LE(8) + 8, 8)),
  },
  { title: 'no payload', rule: 'bounds', build: header((h) => h.writeUInt32LE(0, 8)) },
  { title: 'the CRC of another payload', rule: 'payload-crc', build: header((h) => h.writeUInt32LE(1, 24)) },
  { title: 'the next sequence number', rule: 'sequence', build: header((h) => h.writeUInt32LE(3, 12)) },
  { title: 'an offset 2^53 further', rule: 'bounds', build: header((h) => u64(2n ** 53n, 16)(h)) },
  { title: 'another offset', rule: 'offset', build: header((h) => u64(8n, 16)(h)) },
  { title: 'another tensor', rule: 'tensor-order', build: header((h) => h.writeUInt32LE(1, 32)) },
  { title: 'a count of 0', rule: 'bounds', build: header((h) => h.writeUInt32LE(0, 36)) },
  { title: 'a count of 2^32-1', rule: 'bounds', build: header((h) => h.writeUInt32LE(0xffff_ffff, 36)) },
  { title: 'a first index of 2^53', rule: 'bounds', build: header(u64(2n ** 53n, 40)) },
  { title: 'a last index of 2^64-1', rule: 'bounds', build: header(u64(2n ** 64n - 1n, 48)) },
  { title: 'a last index before the first', rule: 'bounds', build: header(u64(6n, 48)) },
  { title: '4 GiB of index bytes', rule: 'indices', build: header((h) => h.writeUInt32LE(0xffff_ffff, 60)) },
  {
    title: 'an index behind the tensor',
    rule: 'bounds',
    build: (form) => {
      const { fields, index } = goodPatch(form);
      const { lastIndex = 0 } = fields;
      return new CraftedStream()
        .open()
        .tensor({ shape: [lastIndex] })
        .patch(fields, index);
    },
  },
  {
    title: 'the same patch again',
    rule: 'overlap',
    frame: 3,
    build: (form) => {
      const { fields, index } = goodPatch(form);
      return begun().patch(fields, index).patch(fields, index);
    },
  },
  {
    title: 'padding that is not zero',
    rule: 'reserved',
    build: (form) => {
      const { fields, index } = goodPatch(form);
      return begun().patch(fields, index, undefined, (payload) => payload.fill(1, payload.length - 1));
    },
    fits: (form) => {
      const { fields, index } = goodPatch(form);
      return (4 * valueSizes[fields.values ?? 'f32'] + index.length) % 8 !== 0;
    },
  },
  {
    title: 'a scale that is no number',
    rule: 'bounds',
    build: header((h) => h.writeFloatLE(Number.NaN, 64)),
    fits: ({ values }) => values === 'i8',
  },
  {
    title: 'values its tensor cannot take',
    rule: 'encoding',
    build: (form) => {
      const { fields, index } = goodPatch(form);
      return new CraftedStream().open().tensor({ dtype: 'I64' }).patch(fields, index);
    },
  },
  {
    title: 'a last index that is not reached',
    rule: 'indices',
    build: told({ lastIndex: 21 }),
    fits: of('gap', 'run', 'range'),
  },
  {
    title: 'a last index passed over',
    rule: 'indices',
    build: told({ lastIndex: 19 }),
    fits: of('gap', 'run', 'bitmap'),
  },
  {
    title: 'an index byte too many',
    rule: 'indices',
    build: told({ indexLength: 4 }, (index) => [...index, 0]),
    fits: of('gap'),
  },
  {
    title: 'a pair too many',
    rule: 'indices',
    build: told({ indexLength: 6 }, (index) => [...index, 0, 0]),
    fits: of('run'),
  },
  {
    title: 'a byte too many',
    rule: 'indices',
    build: told({ indexLength: 3 }, (index) => [...index, 0]),
    fits: of('bitmap'),
  },
  { title: 'index bytes', rule: 'indices', build: told({ indexLength: 1 }, () => [0]), fits: of('range') },
  {
    title: 'a varint that is not minimal',
    rule: 'indices',
    build: told({ indexLength: 4 }, ([a = 0, ...rest]) => [a | 0x80, 0, ...rest]),
    fits: of('gap'),
  },
  {
    title: 'a pair that is not minimal',
    rule: 'indices',
    build: told({ indexLength: 5 }, ([a = 0, ...rest]) => [a | 0x80, 0, ...rest]),
    fits: of('run'),
  },
  {
    title: 'a varint of 6 bytes',
    rule: 'indices',
    build: told({ indexLength: 8 }, ([a = 0, ...rest]) =>
      [a | 0x80, 128, 128, 128, 128, 1, ...rest].slice(0, 8),
    ),
    fits: of('gap', 'run'),
  },
  {
    title: 'a varint cut off',
    rule: 'indices',
    build: told({}, (index) => [...index.slice(0, -1), 0x80]),
    fits: of('gap', 'run'),
  },
  {
    title: 'a bit too many',
    rule: 'indices',
    build: told({}, ([a = 0, ...rest]) => [a | 8, ...rest]),
    fits: of('bitmap'),
  },
  {
    title: 'a bit too few',
    rule: 'indices',
    build: told({}, ([a = 0, ...rest]) => [a & ~2, ...rest]),
    fits: of('bitmap'),
  },
  {
    title: 'not the first bit',
    rule: 'indices',
    build: told({}, ([a = 0, ...rest]) => [(a & ~1) | 8, ...rest]),
    fits: of('bitmap'),
  },
];
