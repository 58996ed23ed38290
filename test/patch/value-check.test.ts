/** The content guard refuses NaN, infinity, values above a limit, too many changes and unexpected tensors. */
import t from 'tap';
import { namePattern } from '../../gateway/core/name-pattern.ts';
import { type ContentRules, createPatchCheck } from '../../gateway/patch/check.ts';
import { type Dtype, dtypes } from '../../gateway/patch/dtype.ts';
import type { PatchFault } from '../../gateway/patch/fault.ts';
import type { Operation, ValueEncoding } from '../../gateway/patch/layout.ts';
import { exactEncodings, wordBytesOf } from '../../gateway/patch/value.ts';
import { CraftedStream } from './crafted-stream.ts';

interface Row {
  readonly dtype: Dtype;
  readonly values: ValueEncoding;
  readonly scale?: number;
  readonly operation?: Operation;
  readonly maxAbs?: number;
  /** Little-endian, in hexadecimal, one after the other. */
  readonly good: string;
  /** One value each. */
  readonly bad: readonly string[];
}

const rows: readonly Row[] = [
  {
    dtype: 'F32',
    values: 'f32',
    good: '00000000 00000080 ffff7f7f ffff7fff 01000000',
    bad: ['0000807f', '000080ff', '0100807f', '0000c07f', 'ffffffff'],
  },
  { dtype: 'F16', values: 'f16', good: '0000 0080 ff7b fffb', bad: ['007c', '00fc', '017c', 'ff7f'] },
  { dtype: 'BF16', values: 'bf16', good: '0000 0080 7f7f 7fff', bad: ['807f', '80ff', 'c07f', '817f'] },
  { dtype: 'F8_E4M3', values: 'i8', scale: 1, good: '00 7e fe 80', bad: ['7f', 'ff'] },
  { dtype: 'F8_E5M2', values: 'i8', scale: 1, good: '00 7b fb', bad: ['7c', '7d', 'ff', 'fc'] },
  { dtype: 'F8_E8M0', values: 'i8', scale: 1, good: '00 7f fe', bad: ['ff'] },
  { dtype: 'BOOL', values: 'i8', scale: 1, good: '00 01', bad: ['02', '80', 'ff'] },
  { dtype: 'C64', values: 'f32', good: '0000803f 0000c0bf', bad: ['0000807f', '0000c07f'] },
  // A value is judged as it will be stored: 65520 rounds to infinity in binary16, 65519.99 to 65504.
  { dtype: 'F16', values: 'f32', good: 'ffef7f47', bad: ['00f07f47', '00f07fc7', '0000807f'] },
  { dtype: 'F16', values: 'bf16', good: '7f47', bad: ['8047', '807f'] },
  { dtype: 'BF16', values: 'f32', good: 'ff7f7f7f', bad: ['00807f7f', '0000807f'] },
  { dtype: 'F16', values: 'i8', scale: 1000, good: '41 bf', bad: ['42', 'be', '80'] },
  { dtype: 'F32', values: 'i8', scale: -0.5, good: '7f 80', bad: [] },
  { dtype: 'F32', values: 'i8', scale: 3e38, good: '01 ff', bad: ['02', 'fe'] },
  {
    dtype: 'F32',
    values: 'f32',
    maxAbs: 1,
    good: '0000803f 000080bf',
    bad: ['0100803f', '010080bf', '0000c07f'],
  },
  { dtype: 'F32', values: 'f32', maxAbs: 0, good: '00000000 00000080', bad: ['01000000'] },
  { dtype: 'F32', values: 'f32', maxAbs: 1, operation: 'add', good: '0000803f', bad: ['0100803f'] },
  { dtype: 'F32', values: 'f16', maxAbs: 1.5, good: '003e 00be', bad: ['013e', '007c'] },
  { dtype: 'BF16', values: 'bf16', maxAbs: 1.5, good: 'c03f c0bf', bad: ['c13f'] },
  // 1.0039 is within a limit of 1.005, but becomes 1.0078 in bfloat16, which is not.
  { dtype: 'BF16', values: 'f32', maxAbs: 1.005, good: '0000803f', bad: ['0180803f'] },
  { dtype: 'F32', values: 'i8', scale: 0.5, maxAbs: 10, good: '14 ec', bad: ['15', 'eb', '80'] },
  { dtype: 'I8', values: 'i8', scale: 1, maxAbs: 127, good: '7f 81', bad: ['80'] },
  { dtype: 'U8', values: 'i8', scale: 1, maxAbs: 200, good: 'c8', bad: ['c9', 'ff'] },
  { dtype: 'I16', values: 'f16', maxAbs: 300, good: '2c01 d4fe', bad: ['2d01', 'd3fe', '0080'] },
  { dtype: 'U16', values: 'f16', maxAbs: 40000, good: '409c', bad: ['419c'] },
  { dtype: 'I32', values: 'f32', maxAbs: 16777217, good: '01000001 fffffffe', bad: ['02000001', '00000080'] },
  { dtype: 'U32', values: 'f32', maxAbs: 4294967294, good: 'feffffff', bad: ['ffffffff'] },
  { dtype: 'F8_E4M3', values: 'i8', scale: 1, maxAbs: 1.5, good: '3c bc', bad: ['3d', '7f'] },
];

const size = { f32: 4, f16: 2, bf16: 2, i8: 1 };

/** A stream of these values, each of which changes its own element. */
function streamOf({ dtype, values, scale = 0, operation = 'set' }: Row, bytes: Buffer): Buffer {
  const words = wordBytesOf(dtype) !== undefined;
  const count = bytes.length / size[values];
  return new CraftedStream()
    .open()
    .tensor({ dtype, words, shape: [96] })
    .patch(
      { count, lastIndex: count - 1, indices: 'range', values, scale, operation },
      [],
      undefined,
      (payload) => bytes.copy(payload),
    )
    .end().bytes;
}

function check(stream: Buffer, content: ContentRules, chunkSize: number): PatchFault | undefined {
  const patchCheck = createPatchCheck('values', { content });
  for (let at = 0; at < stream.length; at += chunkSize) {
    patchCheck.accept(stream.subarray(at, at + chunkSize), () => {});
  }
  return patchCheck.finish(() => {});
}

for (const row of rows) {
  const { dtype, values, scale, maxAbs, operation = 'set' } = row;
  const title = `${operation} ${values}${scale === undefined ? '' : ` of scale ${scale}`} in ${dtype}`;
  t.test(
    `${title}${maxAbs === undefined ? '' : ` up to ${maxAbs}`} is judged by each value as it will be stored`,
    async (t) => {
      const good = Buffer.from(row.good.replaceAll(' ', ''), 'hex');
      for (const chunkSize of [1, 2, 3, 5, 7, 4096]) {
        t.equal(
          check(streamOf(row, good), { maxAbs }, chunkSize),
          undefined,
          `good values pass in chunks of ${chunkSize}`,
        );
        for (const hex of row.bad) {
          const bad = Buffer.from(hex, 'hex');
          for (const bytes of [bad, Buffer.concat([good, bad]), Buffer.concat([bad, good])]) {
            t.match(
              check(streamOf(row, bytes), { maxAbs }, chunkSize),
              { rule: 'content', status: 422, frame: 2, detail: /^a value of layer.0.w is / },
              `${bytes.toString('hex')} is refused in chunks of ${chunkSize}`,
            );
          }
        }
      }
    },
  );
}

t.test('every dtype has values that pass or a reason why none can be judged', async (t) => {
  const unjudged = dtypes.filter((dtype) => {
    const values = exactEncodings[dtype];
    const row = { dtype, values, scale: values === 'i8' ? 1 : 0, good: '', bad: [] };
    return check(streamOf(row, Buffer.alloc(8)), {}, 4096) !== undefined;
  });
  t.same(unjudged, ['F64']);
  const inParts = (['I64', 'U64', 'F4', 'F6_E2M3', 'F6_E3M2'] as const).map((dtype) => {
    const values = exactEncodings[dtype];
    const row = { dtype, values, scale: values === 'i8' ? 1 : 0, good: '', bad: [] };
    return check(streamOf(row, Buffer.alloc(8)), { maxAbs: 1 }, 4096)?.detail;
  });
  for (const detail of inParts) t.match(detail, /in parts, which cannot be compared with a largest value/);
});

t.test('tensors that match no pattern are refused before any of them is forwarded', async (t) => {
  const content = { tensors: [namePattern('*.lora_A.*'), namePattern('*.lora_B.*')] };
  const named = (name: string) => new CraftedStream().open().tensor({ name }).patch({}).end().bytes;
  t.equal(check(named('layers.0.lora_B.weight'), content, 7), undefined);
  for (const name of ['layers.0.weight', '', 'lora_A', 'layers.0.lora_a.weight']) {
    t.match(check(named(name), content, 7), { rule: 'content', status: 422, frame: 1 }, name);
  }
});

t.test('a tensor may change by the given share, however many frames it takes', async (t) => {
  const range = { indices: 'range', count: 10, lastIndex: 9 } as const;
  const twice = new CraftedStream()
    .open()
    .tensor()
    .patch(range)
    .patch({ ...range, firstIndex: 20, lastIndex: 29 })
    .end().bytes;
  t.equal(check(twice, { maxChanged: 0.2 }, 7), undefined);
  t.match(check(twice, { maxChanged: 0.19 }, 7), {
    rule: 'content',
    status: 422,
    frame: 3,
    detail: '20 of 100 elements of layer.0.w change, a share above 0.19',
  });
  const apart = new CraftedStream()
    .open({ tensorCount: 2 })
    .tensor()
    .patch(range)
    .tensor({ tensorId: 1, name: 'other' })
    .patch({ ...range, tensorId: 1 })
    .end().bytes;
  t.equal(check(apart, { maxChanged: 0.1 }, 7), undefined, 'each tensor is counted by itself');
});

t.test('the checks header and deep leave the values to the node', async (t) => {
  const stream = streamOf({ dtype: 'F32', values: 'f32', good: '', bad: [] }, Buffer.from('0000c07f', 'hex'));
  for (const mode of ['header', 'deep'] as const) {
    const patchCheck = createPatchCheck(mode, { content: { maxAbs: 1 } });
    t.equal(
      patchCheck.accept(stream, () => {}),
      undefined,
    );
    t.equal(
      patchCheck.finish(() => {}),
      undefined,
    );
  }
});
