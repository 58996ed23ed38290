/** Two files make a stream that turns the first into the second, bit for bit, whatever changed. */

import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { createPatchCheck, type PatchCheckMode } from '../../gateway/patch/check.ts';
import { dtypeBits, dtypes } from '../../gateway/patch/dtype.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel, writePatch } from '../../gateway/patch/write.ts';
import {
  arriving,
  type Change,
  changeTensor,
  compareSlowly,
  gather,
  inChunks,
  type RandomTensor,
  randomTensor,
  type TensorPlan,
} from './random-model.ts';
import { SeededRandom } from './seeded-random.ts';
import { readSlowly } from './slow-reader.ts';

const identity = { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 };
const modes: readonly PatchCheckMode[] = ['header', 'deep'];

/** Every type of safetensors in several shapes. */
const plans: readonly TensorPlan[] = [
  ...dtypes.flatMap((dtype): readonly TensorPlan[] => [
    [`${dtype}.matrix`, dtype, [37, 56]],
    [`${dtype}.vector`, dtype, [dtypeBits[dtype] < 8 ? 4004 : 4001]],
    dtypeBits[dtype] < 8 ? [`${dtype}.four`, dtype, [4]] : [`${dtype}.scalar`, dtype, []],
    [`${dtype}.nothing`, dtype, [3, 0, 5]],
    [`${dtype}.deep`, dtype, [2, 1, 3, 1, 2, 1, 2, 2]],
  ]),
  ['ß.ж.語.😀', 'F32', [11]],
];

interface Trip {
  readonly stream: Buffer;
  readonly made: Buffer;
  readonly wanted: Buffer;
}

/** Writes both models, makes the patch and applies it. */
async function travel(
  t: Test,
  folder: string,
  base: readonly RandomTensor[],
  target: readonly RandomTensor[],
  chunkSize = 65_536,
): Promise<Trip> {
  const path = (name: string) => join(folder, `${name}.safetensors`);
  await writeSafetensors(path('base'), base, { format: 'pt' });
  await writeSafetensors(path('target'), target, { format: 'pt' });
  const patch = await patchModel(path('base'), path('target'), identity);
  const stream = await gather(patch.stream);
  t.equal(stream.length, patch.bytes, 'the size is known beforehand');
  await patch.close();
  const file = await openSafetensors(path('base'));
  const applied = await applyPatch(file, readPatch(arriving(stream, chunkSize)), path('made'), identity);
  await file.close();
  t.equal(applied.changed, patch.changed);
  t.same(applied.digest, patch.identity.targetDigest);
  return { stream, made: await readFile(path('made')), wanted: await readFile(path('target')) };
}

/** Sends a stream through a check. */
function pass(stream: Buffer, mode: PatchCheckMode, size: number) {
  const check = createPatchCheck(mode, { modelId: 'bert_tiny', targetVersion: 5, maxEpoch: 3 });
  const forwarded: Buffer[] = [];
  const forward = (bytes: Buffer) => forwarded.push(bytes);
  for (const chunk of inChunks(stream, size)) check.accept(chunk, forward);
  return { fault: check.finish(forward), forwarded: Buffer.concat(forwarded) };
}

const seeds: readonly (readonly [number, readonly Change[]])[] = [
  [1, ['singles']],
  [2, ['runs']],
  [3, ['dense']],
  [4, ['none']],
  [5, ['none', 'singles', 'runs', 'dense']],
  [6, ['runs', 'none', 'singles']],
];

for (const [seed, kinds] of seeds) {
  t.test(`a model with changes of kind ${kinds.join(', ')} arrives bit for bit`, async (t) => {
    const random = new SeededRandom(seed);
    const base = plans.map((plan) => randomTensor(random, plan));
    const target = base.map((tensor, k) => {
      return changeTensor(random, tensor, kinds[k % kinds.length] ?? 'none');
    });
    const { stream, made, wanted } = await travel(t, t.testdir({}), base, target, 1 + random.below(1000));
    t.ok(made.equals(wanted), 'the file that was made is the target');
    t.same(readSlowly(stream), compareSlowly(base, target), 'the stream says what the slow comparison says');

    for (const mode of modes) {
      for (const size of [1, 7, 65_536]) {
        const { fault, forwarded } = pass(stream, mode, size);
        t.equal(fault, undefined, `${mode} passes in chunks of ${size}`);
        t.ok(forwarded.equals(stream), 'the forwarded bytes are those that came');
      }
    }
  });
}

t.test('a tensor with more changes than fit in one frame takes several', async (t) => {
  const random = new SeededRandom(7);
  const base = [randomTensor(random, ['w', 'F32', [300, 400]]), randomTensor(random, ['x', 'I8', [200_000]])];
  const target = base.map((tensor) => changeTensor(random, tensor, 'dense'));
  const { stream, made, wanted } = await travel(t, t.testdir({}), base, target);
  t.ok(made.equals(wanted));
  t.same(readSlowly(stream), compareSlowly(base, target));
});

t.test('changes on both sides of the pieces in which a model is read are found', async (t) => {
  const random = new SeededRandom(8);
  const base = [randomTensor(random, ['w', 'BF16', [1_100_000]])];
  const data = Buffer.from(base[0]?.data ?? '');
  for (const index of [0, 2047, 2048, 524_287, 524_288, 1_048_575, 1_048_576, 1_099_999]) {
    data.writeUInt16LE(data.readUInt16LE(index * 2) ^ 0x8000, index * 2);
  }
  const target = base.map((tensor) => ({ ...tensor, data }));
  const { stream, made, wanted } = await travel(t, t.testdir({}), base, target);
  t.ok(made.equals(wanted));
  t.same(
    readSlowly(stream).map(({ index }) => index),
    [0, 2047, 2048, 524_287, 524_288, 1_048_575, 1_048_576, 1_099_999],
  );
});

t.test('a model without tensors has a patch too', async (t) => {
  const { stream, made, wanted } = await travel(t, t.testdir({}), [], []);
  t.ok(made.equals(wanted));
  t.same(readSlowly(stream), []);
});

t.test('a patch is the same at every reading, and its id depends on its models', async (t) => {
  const random = new SeededRandom(9);
  const base = [randomTensor(random, ['w', 'F16', [5000]])];
  const folder = t.testdir({});
  const [from, to] = [join(folder, 'from'), join(folder, 'to')];
  await writeSafetensors(from, base);
  await writeSafetensors(
    to,
    base.map((tensor) => changeTensor(random, tensor, 'runs')),
  );
  const patch = await patchModel(from, to, identity);
  const first = await gather(patch.stream);
  t.ok((await gather(patch.stream)).equals(first));
  await patch.close();
  const others = await Promise.all([
    patchModel(from, to, identity),
    patchModel(from, to, { ...identity, epoch: 4 }),
    patchModel(to, from, identity),
  ]);
  t.same(
    others.map(({ identity: { streamId } }) => streamId.equals(patch.identity.streamId)),
    [true, false, false],
  );
  await Promise.all(others.map((other) => other.close()));
});

/** Pairs of models without a patch between them, and the tensor in the way. */
const apart: readonly (readonly [title: string, TensorPlan, TensorPlan | undefined, RegExp])[] = [
  ['a tensor that is missing in the target', ['w', 'F32', [4]], undefined, /w is missing from the target/],
  ['a tensor of another name', ['w', 'F32', [4]], ['v', 'F32', [4]], /w is missing from the target/],
  [
    'a tensor of another type',
    ['w', 'F32', [4]],
    ['w', 'I32', [4]],
    /w is F32 in the base, I32 in the target/,
  ],
  ['a tensor of another shape', ['w', 'F32', [4]], ['w', 'F32', [2, 2]], /w is \[4\] in the base, \[2,2\]/],
  [
    'a change in 9 dimensions',
    ['w', 'F32', [1, 1, 1, 1, 1, 1, 1, 1, 9]],
    ['w', 'F32', [1, 1, 1, 1, 1, 1, 1, 1, 9]],
    /w changed, but WPF1 cannot carry 9 dimensions/,
  ],
  [
    'a change in a tensor whose name is longer than a header',
    ['w'.repeat(460), 'F32', [1]],
    ['w'.repeat(460), 'F32', [1]],
    /w changed, but WPF1 cannot carry a name of 460 bytes/,
  ],
];

for (const [title, before, after, message] of apart) {
  t.test(`there is no patch over ${title}, and the error names the tensor`, async (t) => {
    const random = new SeededRandom(10);
    const folder = t.testdir({});
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    await writeSafetensors(from, [randomTensor(random, before)]);
    await writeSafetensors(to, after === undefined ? [] : [randomTensor(random, after)]);
    await t.rejects(patchModel(from, to, identity), { name: 'ModelDiffError', tensor: before[0], message });
  });
}

t.test('a tensor that only the target has prevents a patch too', async (t) => {
  const folder = t.testdir({});
  const [from, to] = [join(folder, 'from'), join(folder, 'to')];
  await writeSafetensors(from, []);
  await writeSafetensors(to, [randomTensor(new SeededRandom(11), ['w', 'F32', [4]])]);
  await t.rejects(patchModel(from, to, identity), { message: 'tensor w is missing from the base' });
});

t.test('a file that changes under the patch ends the stream before END', async (t) => {
  const random = new SeededRandom(12);
  const folder = t.testdir({});
  const [from, to] = [join(folder, 'from'), join(folder, 'to')];
  const base = randomTensor(random, ['w', 'F32', [100]]);
  await writeSafetensors(from, [base]);
  await writeSafetensors(to, [changeTensor(random, base, 'singles')]);
  const patch = await patchModel(from, to, identity);
  await copyFile(from, to);
  await t.rejects(gather(patch.stream), { name: 'PatchWriteError', message: /wrote 0 in 0/ });
  await patch.close();
});

t.test('a gap that no varint holds begins a new frame', async (t) => {
  const indices = Float64Array.of(0, 1, 2 ** 35 + 1, 2 ** 36 + 2, 2 ** 36 + 3);
  const tensor = { tensorId: 0, dtype: 'I8' as const, elementCount: 2 ** 40, shape: [2 ** 40], name: 'w' };
  const digests = { baseDigest: Buffer.alloc(32), targetDigest: Buffer.alloc(32) };
  const told = {
    tensorCount: 1,
    totalParams: 2 ** 40,
    totalChanged: 5,
    threshold: 0,
    streamId: Buffer.alloc(16),
  };
  const change = { tensor, indices, values: Buffer.from([1, 2, 3, 4, 5]), encoding: 'i8' as const };
  const stream = await gather(writePatch({ ...identity, ...digests, ...told }, [change]));
  t.equal(pass(stream, 'deep', 7).fault, undefined);
  t.same(
    readSlowly(stream).map(({ index }) => index),
    [...indices],
  );
  t.equal(
    stream.toString('latin1').split('WPF1').length - 1,
    5,
    'there are OPEN, TENSOR, two of PATCH, and END',
  );
});
