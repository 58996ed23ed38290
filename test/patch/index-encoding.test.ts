/** The four index encodings, compared with a slow reader and with each other. */

import t from 'tap';
import { createPatchCheck } from '../../gateway/patch/check.ts';
import type { PatchFields } from '../../gateway/patch/format.ts';
import {
  decodeIndices,
  encodeIndices,
  type Indices,
  indexSizes,
  smallest,
} from '../../gateway/patch/index-encoding.ts';
import { type IndexEncoding, indexEncodings } from '../../gateway/patch/layout.ts';
import { CraftedStream } from './crafted-stream.ts';
import { SeededRandom } from './seeded-random.ts';
import { readSlowly } from './slow-reader.ts';

/** The header of a patch of these indices. */
function headerOf(indices: Indices, encoding: IndexEncoding, bytes: Buffer): PatchFields {
  return {
    tensorId: 0,
    count: indices.length,
    firstIndex: indices[0] ?? 0,
    lastIndex: indices.at(-1) ?? 0,
    operation: 'set',
    indices: encoding,
    values: 'i8',
    indexLength: bytes.length,
    scale: 1,
  };
}

/** Decodes the indices with the slow reader. */
function decodeSlowly(indices: Indices, encoding: IndexEncoding, bytes: Buffer): number[] {
  const stream = new CraftedStream().open().tensor();
  const patch = stream.patch(headerOf(indices, encoding, bytes), [...bytes]).end();
  return readSlowly(patch.bytes).map(({ index }) => index);
}

/** Which encodings can hold the indices: a range holds only neighbours. */
function encodingsFor(indices: Indices): readonly IndexEncoding[] {
  const consecutive = (indices.at(-1) ?? 0) - (indices[0] ?? 0) + 1 === indices.length;
  return indexEncodings.filter((encoding) => encoding !== 'range' || consecutive);
}

function consecutive(first: number, count: number): Indices {
  return Float64Array.from({ length: count }, (_, k) => first + k);
}

const random = new SeededRandom(20);
const samples: readonly (readonly [string, Indices])[] = [
  ['a single element', Float64Array.of(0)],
  ['a single element far away', Float64Array.of(2 ** 40)],
  ['neighbours', consecutive(77, 500)],
  ['every second element', consecutive(3, 300).map((index) => index * 2)],
  ['one element missing', Float64Array.from([...consecutive(0, 100), ...consecutive(101, 100)])],
  ['the first and the last of a byte', Float64Array.of(8, 15)],
  ['both sides of a byte', Float64Array.of(8, 16)],
  ['gaps on both sides of each varint length', gapsAround(7, 14, 21)],
  ['one in a hundred', random.rising(50_000, 0.01)],
  ['one in three', random.rising(5000, 0.33)],
  ['nearly all', random.rising(5000, 0.97)],
  ['runs of about 32', random.rising(50_000, 0.03, 32)],
  ['long runs', random.rising(50_000, 0.5, 400)],
];

/** Indices whose gaps are one below, at and one above each power of two. */
function gapsAround(...powers: readonly number[]): Indices {
  let index = 5;
  const gaps = powers.flatMap((power) => [-1, 0, 1].map((step) => 2 ** power + step));
  return Float64Array.from([index, ...gaps.map((gap) => (index += gap + 1))]);
}

for (const [title, indices] of samples) {
  t.test(`every encoding that can hold ${title} gives them back`, async (t) => {
    for (const encoding of encodingsFor(indices)) {
      const span = (indices.at(-1) ?? 0) - (indices[0] ?? 0);
      if (encoding === 'bitmap' && span > 10_000_000) continue;
      const bytes = encodeIndices(encoding, indices);
      t.equal(bytes.length, indexSizes(indices)[encoding], `the size of ${encoding} is known beforehand`);
      t.same(decodeIndices(headerOf(indices, encoding, bytes), bytes), indices, encoding);
      t.same(decodeSlowly(indices, encoding, bytes), [...indices], `the slow reader agrees on ${encoding}`);
    }
  });

  t.test(`the writer takes the smallest encoding for ${title}`, async (t) => {
    const sizes = indexSizes(indices);
    const encoding = smallest(sizes);
    t.equal(encodeIndices(encoding, indices).length, Math.min(...Object.values(sizes)));
    t.equal(sizes[encoding], Math.min(...Object.values(sizes)));
  });
}

t.test('each encoding is the smallest for some indices', async (t) => {
  const taken: readonly (readonly [IndexEncoding, Indices])[] = [
    ['range', consecutive(9, 5000)],
    ['bitmap', random.rising(5000, 0.5)],
    ['gap', random.rising(50_000, 0.01)],
    ['run', random.rising(50_000, 0.03, 32)],
  ];
  for (const [expected, indices] of taken) t.equal(smallest(indexSizes(indices)), expected);
});

t.test('of encodings of equal size the one that is cheapest to decode is taken', async (t) => {
  t.equal(
    smallest(indexSizes(Float64Array.of(5))),
    'range',
    'a range is taken before the gaps of a single element',
  );
  t.equal(
    smallest(indexSizes(Float64Array.of(5, 7))),
    'bitmap',
    'a bitmap is taken before a gap of one byte',
  );
});

t.test('a varint is as short as possible and never longer than 5 bytes', async (t) => {
  const cases: readonly (readonly [gap: number, hex: string])[] = [
    [0, '00'],
    [1, '01'],
    [127, '7f'],
    [128, '8001'],
    [300, 'ac02'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [2 ** 21 - 1, 'ffff7f'],
    [2 ** 21, '80808001'],
    [2 ** 28 - 1, 'ffffff7f'],
    [2 ** 28, '8080808001'],
    [2 ** 31, '8080808008'],
    [2 ** 32 + 5, '8580808010'],
    [2 ** 35 - 1, 'ffffffff7f'],
  ];
  for (const [gap, hex] of cases) {
    const indices = Float64Array.of(3, 3 + gap + 1);
    const bytes = encodeIndices('gap', indices);
    t.equal(bytes.toString('hex'), hex, `gap ${gap}`);
    t.same(decodeIndices(headerOf(indices, 'gap', bytes), bytes), indices);
    if (gap === 0) continue;
    const runs = encodeIndices('run', indices);
    t.equal(runs.toString('hex'), `0000${hex}00`, `run, gap ${gap}`);
    t.same(decodeIndices(headerOf(indices, 'run', runs), runs), indices);
  }
});

t.test('the decoder and the slow reader agree on index bytes that pass the check', async (t) => {
  const any = new SeededRandom(21);
  let passed = 0;
  for (let round = 0; round < 5000; round++) {
    const encoding = (['gap', 'run', 'bitmap'] as const)[any.below(3)] ?? 'gap';
    const bytes = Buffer.from(Array.from({ length: 1 + any.below(3) }, () => any.below(6)));
    const count = 1 + any.below(5);
    const fields = {
      ...headerOf(Float64Array.of(2), encoding, bytes),
      count,
      lastIndex: 1 + count + any.below(9),
    };
    const stream = new CraftedStream()
      .open()
      .tensor()
      .patch(fields, [...bytes])
      .end().bytes;
    const check = createPatchCheck('deep', {});
    if (check.accept(stream, () => {}) !== undefined) continue;
    passed += 1;
    const slow = readSlowly(stream).map(({ index }) => index);
    const decoded = decodeIndices(fields, bytes);
    const same = decoded instanceof Float64Array && decoded.join() === slow.join();
    if (!same) t.fail(`${encoding} ${bytes.toString('hex')}`, { fields, slow, decoded });
  }
  t.ok(passed > 50, `enough byte strings passed: ${passed}`);
});
