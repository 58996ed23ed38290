/** Every lie a PATCH frame can tell, in every encoding and operation, with valid CRCs; and what is extreme but allowed. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { createPatchCheck } from '../../gateway/patch/check.ts';
import { modelDigest } from '../../gateway/patch/digest.ts';
import {
  type PatchFault,
  PatchFaultError,
  type PatchFaultRule,
  patchFaults,
} from '../../gateway/patch/fault.ts';
import { type PatchFields, sealHeader } from '../../gateway/patch/format.ts';
import { encodeIndicesAs } from '../../gateway/patch/index-encoding.ts';
import { indexEncodings, operations, valueEncodings, valueSizes } from '../../gateway/patch/layout.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { CraftedStream } from './crafted-stream.ts';
import { arriving } from './random-model.ts';

const elementCount = 100;
const forms = indexEncodings.flatMap((indices) =>
  valueEncodings.flatMap((values) => operations.map((operation) => ({ indices, values, operation }))),
);
type Form = (typeof forms)[number];

/** A good patch of four elements, 7 to 10 or 7 to 20. */
function goodPatch({ indices, values, operation }: Form): { fields: Partial<PatchFields>; index: number[] } {
  const numbers = indices === 'range' ? [7, 8, 9, 10] : [7, 8, 9, 20];
  const lastIndex = numbers.at(-1) ?? 0;
  const scale = values === 'i8' ? 0.5 : 0;
  return {
    fields: { count: 4, firstIndex: 7, lastIndex, indices, values, operation, scale },
    index: [...encodeIndicesAs(indices, Float64Array.from(numbers))],
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

const begun = () => new CraftedStream().open().tensor();
/** The good patch with its header changed and sealed anew. */
const header =
  (lie: (header: Buffer) => void) =>
  (form: Form): CraftedStream => {
    const { fields, index } = goodPatch(form);
    return begun().patch(fields, index, lie);
  };
/** The good patch with some of what it says, or of its index bytes, replaced before it was encoded. */
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

const lies: readonly Lie[] = [
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

/** The fault of a body, and whether any byte of END went on. */
function check(body: Buffer, size: number): { fault: PatchFault | undefined; ended: boolean } {
  const patchCheck = createPatchCheck('values', {});
  const forwarded: Buffer[] = [];
  const forward = (bytes: Buffer) => forwarded.push(Buffer.from(bytes));
  for (let at = 0; at < body.length; at += size) patchCheck.accept(body.subarray(at, at + size), forward);
  const fault = patchCheck.finish(forward);
  return { fault, ended: Buffer.concat(forwarded).length > body.length - 120 };
}

const forgeries = forms.flatMap((form) =>
  lies
    .filter(({ fits = () => true }) => fits(form))
    .map(({ title, rule, frame = 2, build }) => {
      const built = build(form);
      return {
        ...form,
        title,
        rule,
        frame,
        body: built instanceof CraftedStream ? built.end().bytes : built,
      };
    }),
);

t.test('in every encoding each lie is refused with the status of its rule, and END stays', async (t) => {
  const wrong: object[] = [];
  for (const { body, ...forgery } of forgeries) {
    for (const size of [1, 13, body.length]) {
      const { fault, ended } = check(body, size);
      const { rule, frame } = forgery;
      const right =
        fault?.rule === rule && fault.frame === frame && fault.status === patchFaults[rule].status;
      if (!right || ended) wrong.push({ ...forgery, size, fault, ended });
    }
  }
  t.same(wrong, []);
  t.equal(forms.length, 32);
  const rules = new Set(forgeries.map(({ rule }) => rule));
  t.comment(
    `${forgeries.length} forgeries with valid CRCs in 32 encodings break ${rules.size} rules, in 3 chunk sizes each`,
  );
});

t.test('every form without a lie is taken', async (t) => {
  for (const form of forms) {
    const { fields, index } = goodPatch(form);
    t.equal(check(begun().patch(fields, index).end().bytes, 5).fault, undefined, JSON.stringify(form));
  }
});

const extremes: readonly (readonly [title: string, stream: CraftedStream, rule?: PatchFaultRule])[] = [
  ['no tensor at all', new CraftedStream().open({ tensorCount: 0, totalParams: 0 }).end()],
  [
    'an empty tensor',
    new CraftedStream()
      .open()
      .tensor({ shape: [3, 0] })
      .end(),
  ],
  [
    'a patch of an empty tensor',
    new CraftedStream()
      .open()
      .tensor({ shape: [0] })
      .patch({})
      .end(),
    'bounds',
  ],
  ['a scalar', new CraftedStream().open().tensor({ shape: [] }).patch({}).end()],
  [
    'rank 8',
    new CraftedStream()
      .open()
      .tensor({ shape: Array(8).fill(1) })
      .patch({})
      .end(),
  ],
  [
    'rank 9',
    new CraftedStream()
      .open()
      .tensor({ shape: Array(9).fill(1) })
      .end(),
    'bounds',
  ],
  [
    'rank 255',
    new CraftedStream()
      .open()
      .tensor({}, (h) => h.writeUInt8(255, 37))
      .end(),
    'bounds',
  ],
  ['no name', new CraftedStream().open().tensor({ name: '' }).patch({}).end()],
  ['a name with NUL', new CraftedStream().open().tensor({ name: 'a\0b' }).patch({}).end()],
  [
    'a name of dots and slashes',
    new CraftedStream().open().tensor({ name: '../../etc/passwd' }).patch({}).end(),
  ],
  [
    'the last element of 2^53-1',
    new CraftedStream()
      .open({ totalParams: 2 ** 53 - 1 })
      .tensor({ shape: [2 ** 53 - 1] })
      .patch({ firstIndex: 2 ** 53 - 2, lastIndex: 2 ** 53 - 2 })
      .end(),
  ],
  [
    'words of a type that has none',
    new CraftedStream()
      .open()
      .tensor({ words: true, shape: [4] })
      .patch({})
      .end(),
    'encoding',
  ],
  [
    'half an element in words',
    new CraftedStream()
      .open()
      .tensor({ dtype: 'I64', words: true, shape: [3] })
      .end(),
    'bounds',
  ],
  [
    'words in two dimensions',
    new CraftedStream()
      .open()
      .tensor({ dtype: 'I64', words: true, shape: [2, 2] })
      .end(),
    'bounds',
  ],
];

for (const [title, stream, rule] of extremes) {
  t.test(`${title} is ${rule === undefined ? 'taken' : `refused by rule ${rule}`}`, async (t) => {
    for (const size of [1, 13, 4096]) {
      const { fault, ended } = check(stream.bytes, size);
      t.equal(fault?.rule, rule, `chunks of ${size}`);
      t.equal(ended, rule === undefined);
    }
  });
}

t.test('headers that claim 64 KiB are refused by their first 8 bytes', async (t) => {
  const patchCheck = createPatchCheck('deep', {});
  const start = Buffer.from(begun().bytes.subarray(0, 8));
  start.writeUInt16LE(0xfff8, 6);
  t.match(
    patchCheck.accept(start, () => t.fail('forwarded')),
    { rule: 'header-length', status: 400 },
  );
});

t.test('names are names, never paths, and a name twice changes nothing', async (t) => {
  const folder = t.testdir({ below: {} });
  const path = join(folder, 'below', 'base');
  const data = Buffer.alloc(elementCount * 4);
  await writeSafetensors(path, [
    { name: '../w', dtype: 'F32', shape: [10, 10], data },
    { name: 'layer.0.w', dtype: 'F32', shape: [10, 10], data },
  ]);
  const before = await readFile(path);
  const file = await openSafetensors(path);
  t.teardown(() => file.close());
  const baseDigest = await modelDigest(file);
  const apply = (stream: CraftedStream): Promise<unknown> =>
    applyPatch(file, readPatch(arriving(stream.bytes)), join(folder, 'below', 'made'), {
      baseVersion: 4,
    }).catch((error: unknown) => {
      if (error instanceof PatchFaultError) return error.fault.rule;
      throw error;
    });
  const open = (tensorCount: number) => new CraftedStream().open({ baseDigest, tensorCount });
  const twice = open(2).tensor().patch({}).tensor({ tensorId: 1 }).patch({ tensorId: 1 }).end();
  t.equal(await apply(twice), 'overlap');
  t.equal(await apply(open(1).tensor({ name: '../../w' }).patch({}).end()), 'tensor');
  t.equal(
    await apply(open(1).tensor({ name: '../w' }).patch({}).end()),
    'digest',
    'found, and held against END',
  );
  t.same(await readdir(folder, { recursive: true }), ['below', 'below/base']);
  t.ok((await readFile(path)).equals(before));
});

t.test('a header sealed by another sum is refused', async (t) => {
  const { frames } = begun().patch({}).end();
  for (const [k, frame] of frames.entries()) {
    const bent = frames.map((each) => Buffer.from(each));
    const own = bent[k] ?? Buffer.alloc(0);
    own.writeUInt32LE(~frame.readUInt32LE(28) >>> 0, 28);
    t.match(check(Buffer.concat(bent), 13).fault, { rule: 'header-crc', frame: k });
    sealHeader(own.subarray(0, own.readUInt16LE(6)));
    t.equal(check(Buffer.concat(bent), 13).fault, undefined, 'and taken once it is right');
  }
});
