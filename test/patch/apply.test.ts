/** A patch is applied whole or not at all: whatever is wrong with it, the new file is not there and the base is as it was. */

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type ApplyExpectation, applyPatch } from '../../gateway/patch/apply.ts';
import { modelDigest } from '../../gateway/patch/digest.ts';
import { valueFormats } from '../../gateway/patch/element.ts';
import { type PatchFault, PatchFaultError } from '../../gateway/patch/fault.ts';
import type { OpenFields } from '../../gateway/patch/format.ts';
import { type Frame, readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel } from '../../gateway/patch/write.ts';
import { CraftedStream } from './crafted-stream.ts';
import { arriving, changeTensor, gather, randomTensor } from './random-model.ts';
import { SeededRandom } from './seeded-random.ts';

const identity = { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 };
const digestLength = 32;

/** A folder with a base, and a good patch of it. */
async function setBase(t: Test, shape: readonly number[] = [10, 10]) {
  const folder = t.testdir({});
  const basePath = join(folder, 'base');
  const base = [randomTensor(new SeededRandom(50), ['layer.0.w', 'F32', shape])];
  await writeSafetensors(basePath, base);
  const file = await openSafetensors(basePath);
  const digest = await modelDigest(file);
  await file.close();
  return { folder, basePath, base, digest };
}

type Base = Awaited<ReturnType<typeof setBase>>;

/** The stream from the base to a target with some elements changed. */
async function goodPatch(
  { folder, basePath, base }: Base,
  change: 'singles' | 'dense' = 'dense',
): Promise<Buffer> {
  const target = base.map((tensor) => changeTensor(new SeededRandom(51), tensor, change));
  const targetPath = join(folder, 'target');
  await writeSafetensors(targetPath, target);
  const patch = await patchModel(basePath, targetPath, identity);
  const stream = await gather(patch.stream);
  await patch.close();
  return stream;
}

/** Applies a stream to the base; the fault, or nothing where it was applied. */
async function apply(
  { folder, basePath }: Base,
  source: AsyncIterable<Buffer>,
  expectation: Partial<ApplyExpectation> = {},
): Promise<PatchFault | undefined> {
  const file = await openSafetensors(basePath);
  try {
    await applyPatch(file, readPatch(source), join(folder, 'made'), { baseVersion: 4, ...expectation });
    return undefined;
  } catch (error) {
    if (error instanceof PatchFaultError) return error.fault;
    throw error;
  } finally {
    await file.close();
  }
}

/** Only what was there before is there now. */
async function nothingMade(t: Test, { folder, basePath }: Base, before: Buffer): Promise<void> {
  t.same(
    (await readdir(folder)).filter((name) => name !== 'target'),
    ['base'],
  );
  t.ok((await readFile(basePath)).equals(before), 'the base is as it was');
}

t.test('a stream that is cut off anywhere makes no file', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = await goodPatch(base);
  const random = new SeededRandom(52);
  const anywhere = Array.from({ length: 60 }, () => random.below(stream.length));
  const edges = [
    0,
    1,
    7,
    8,
    31,
    32,
    151,
    152,
    153,
    stream.length - 121,
    stream.length - 120,
    stream.length - 1,
  ];
  for (const length of [...edges, ...anywhere]) {
    const fault = await apply(base, arriving(stream.subarray(0, length), 100));
    if (fault?.rule !== 'truncated') t.fail(`cut off at ${length}`, { fault });
  }
  await nothingMade(t, base, before);
  t.equal(await apply(base, arriving(stream)), undefined, 'the whole stream is applied');
});

t.test('a source that fails makes no file, and its error comes out', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = await goodPatch(base);
  async function* failing(): AsyncGenerator<Buffer> {
    yield stream.subarray(0, stream.length - 100);
    throw new Error('the disk is gone');
  }
  await t.rejects(apply(base, failing()), { message: 'the disk is gone' });
  await nothingMade(t, base, before);
});

t.test('a byte spoiled anywhere makes no file', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = await goodPatch(base, 'singles');
  const random = new SeededRandom(53);
  for (let round = 0; round < 60; round++) {
    const spoiled = Buffer.from(stream);
    const at = random.below(stream.length);
    spoiled[at] = (spoiled[at] ?? 0) ^ (1 << random.below(8));
    if ((await apply(base, arriving(spoiled))) === undefined) t.fail(`spoiled at ${at}`);
  }
  await nothingMade(t, base, before);
});

/** A stream for the base of a test, one tensor of 100 float32, that lies somewhere with good CRCs. */
type Lying = (digest: Buffer) => CraftedStream;

function open(baseDigest: Buffer, more: Partial<OpenFields> = {}): CraftedStream {
  return new CraftedStream().open({ baseDigest, ...more });
}

const lies: readonly (readonly [string, Lying, Partial<ApplyExpectation>, Partial<PatchFault>])[] = [
  [
    'another base version',
    (d) => open(d).tensor().end(),
    { baseVersion: 3 },
    { rule: 'base', status: 409, frame: 0 },
  ],
  [
    'another base digest',
    () => open(Buffer.alloc(digestLength)).tensor().end(),
    {},
    { rule: 'base', frame: 0 },
  ],
  [
    'a base whose digest is remembered otherwise',
    (d) => open(d).tensor().end(),
    { baseDigest: Buffer.alloc(digestLength) },
    { rule: 'base', frame: 0 },
  ],
  ['another model', (d) => open(d).tensor().end(), { modelId: 'bert_large' }, { rule: 'model', status: 403 }],
  [
    'another target version',
    (d) => open(d).tensor().end(),
    { targetVersion: 6 },
    { rule: 'version', status: 403 },
  ],
  ['a later epoch', (d) => open(d).tensor().end(), { maxEpoch: 2 }, { rule: 'epoch', status: 403 }],
  ['too many bytes', (d) => open(d).tensor().end(), { maxBytes: 300 }, { rule: 'stream-size', status: 413 }],
  [
    'a tensor the model has not',
    (d) => open(d).tensor({ name: 'v' }).end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'a tensor of another shape',
    (d) =>
      open(d)
        .tensor({ shape: [100] })
        .end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'a tensor of another type',
    (d) => open(d).tensor({ dtype: 'I32' }).end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'a tensor that claims more elements than the model has',
    (d) =>
      open(d)
        .tensor({ shape: [101] })
        .patch({ firstIndex: 100, lastIndex: 100 })
        .end(),
    {},
    { rule: 'tensor', frame: 1 },
  ],
  [
    'the same tensor twice',
    (d) => open(d, { tensorCount: 2 }).tensor().tensor({ tensorId: 1 }).end(),
    {},
    { rule: 'overlap', frame: 2 },
  ],
  [
    'an element behind the last',
    (d) => open(d).tensor().patch({ firstIndex: 100, lastIndex: 100 }).end(),
    {},
    { rule: 'bounds', frame: 2 },
  ],
  [
    'indices that run over the last',
    (d) => open(d).tensor().patch({ count: 2, firstIndex: 99, lastIndex: 99 }, [0]).end(),
    {},
    { rule: 'bounds', frame: 2 },
  ],
  [
    'indices beyond what the header says',
    (d) => open(d).tensor().patch({ count: 2, firstIndex: 90, lastIndex: 95 }, [50]).end(),
    {},
    { rule: 'indices', frame: 2 },
  ],
  [
    'patches that overlap',
    (d) =>
      open(d).tensor().patch({ firstIndex: 5, lastIndex: 5 }).patch({ firstIndex: 5, lastIndex: 5 }).end(),
    {},
    { rule: 'overlap', frame: 3 },
  ],
  [
    'a target of another digest',
    (d) => open(d).tensor().patch({ firstIndex: 5, lastIndex: 5 }).end(),
    {},
    { rule: 'digest', status: 422, frame: 3 },
  ],
  ['a byte behind END', (d) => open(d).tensor().end().end(), {}, { rule: 'trailing', status: 422 }],
];

for (const [title, lie, expectation, expected] of lies) {
  t.test(`no file is made of a patch with ${title}`, async (t) => {
    const base = await setBase(t);
    const before = await readFile(base.basePath);
    const fault = await apply(base, arriving(lie(base.digest).bytes), expectation);
    t.match(fault, expected);
    await nothingMade(t, base, before);
  });
}

t.test('frames that no check has seen are held against the model all the same', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const stream = open(base.digest).tensor().patch({ firstIndex: 5, lastIndex: 5 }).end().bytes;
  const frames: Frame[] = [];
  for await (const frame of readPatch(arriving(stream))) frames.push(frame);
  const [first, second, third] = frames;
  if (first === undefined || second === undefined || third?.header.type !== 'patch')
    throw new Error('no frames');
  const headers = [
    { ...third.header, lastIndex: 2 ** 40, firstIndex: 2 ** 40 },
    { ...third.header, lastIndex: 100 },
    { ...third.header, count: 1000 },
    { ...third.header, indexLength: 1 },
    { ...third.header, indices: 'run' as const },
  ];
  for (const header of headers) {
    const file = await openSafetensors(base.basePath);
    async function* lying(): AsyncGenerator<Frame> {
      yield* [first, second, { ...third, header }] as Frame[];
    }
    const made = applyPatch(file, lying(), join(base.folder, 'made'), { baseVersion: 4 });
    await t.rejects(made, { name: 'PatchFaultError' });
    await file.close();
  }
  await nothingMade(t, base, before);
});

t.test('a file that is there already is neither replaced nor removed', async (t) => {
  const base = await setBase(t);
  const made = join(base.folder, 'made');
  await writeFile(made, 'mine');
  const stream = await goodPatch(base);
  await t.rejects(apply(base, arriving(stream)), { code: 'EEXIST' });
  t.equal(await readFile(made, 'utf8'), 'mine');
});

t.test('without END nothing is made, however the frames end', async (t) => {
  const base = await setBase(t);
  const before = await readFile(base.basePath);
  const file = await openSafetensors(base.basePath);
  async function* none(): AsyncGenerator<Frame> {}
  const made = applyPatch(file, none(), join(base.folder, 'made'), { baseVersion: 4 });
  await t.rejects(made, { name: 'PatchFaultError', fault: { rule: 'truncated', frame: 0 } });
  await file.close();
  await nothingMade(t, base, before);
});

t.test('a computed NaN has the same bits on every processor', async (t) => {
  const bits = (['f32', 'f16', 'bf16'] as const).map((kind) => {
    const bytes = Buffer.alloc(4, 0xff);
    // Subtracted while the test runs: a constant would be folded by the compiler, not computed by the processor.
    const infinity = Number(process.argv.length > 0 ? 'Infinity' : kind);
    valueFormats[kind].write(new DataView(bytes.buffer, bytes.byteOffset, 4), 0, infinity - infinity);
    return bytes.toString('hex', 0, kind === 'f32' ? 4 : 2);
  });
  t.same(bits, ['0000c07f', '007e', 'c07f']);
});
