/** An independent Python implementation of the specification: each side applies what the other writes, bit for bit. */
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { createPatchCheck, type PatchCheckMode } from '../../gateway/patch/check.ts';
import { type TensorChange, tensorFields } from '../../gateway/patch/diff.ts';
import { modelDigest } from '../../gateway/patch/digest.ts';
import { dtypeBits, dtypes } from '../../gateway/patch/dtype.ts';
import { indexSizes, smallest } from '../../gateway/patch/index-encoding.ts';
import {
  type IndexEncoding,
  indexEncodings,
  type Operation,
  operations,
  type ValueEncoding,
  valueEncodings,
  valueSizes,
} from '../../gateway/patch/layout.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { setElements } from '../../gateway/patch/set-elements.ts';
import { patchModel, writePatch } from '../../gateway/patch/write.ts';
import {
  arriving,
  changeTensor,
  gather,
  inChunks,
  type RandomTensor,
  randomTensor,
} from '../patch/random-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const PYTHON = '/usr/bin/python3';
const script = new URL('wpf1.py', import.meta.url).pathname;
const versions = { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 };
const named = { model: 'bert_tiny', versions: [4, 5], epoch: 3 };

const probe = spawnSync(PYTHON, ['-c', 'import numpy']);
const isThere = probe.status === 0;
const skip =
  isThere || process.env['CI'] === 'true' ? false : 'no Python with numpy here (Debian: python3-numpy)';

/** The answers of the peer to the jobs. */
function peer(jobs: readonly object[]): readonly Record<string, unknown>[] {
  const { stdout, stderr, status } = spawnSync(PYTHON, [script], {
    input: JSON.stringify(jobs),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

async function applied(base: string, stream: Buffer, out: string): Promise<Buffer> {
  const file = await openSafetensors(base);
  await applyPatch(file, readPatch(arriving(stream, 1000)), out, versions).finally(() => file.close());
  return readFile(out);
}

function passes(stream: Buffer, mode: PatchCheckMode): boolean {
  const check = createPatchCheck(mode, versions);
  for (const chunk of inChunks(stream, 777)) check.accept(chunk, () => {});
  return check.finish(() => {}) === undefined;
}

const floats = (['F32', 'F16', 'BF16'] as const).map(
  (dtype, k) => [`float.${dtype}`, dtype, [70, 13 + k]] as const,
);
const everything = dtypes.flatMap((dtype) => [
  [`all.${dtype}`, dtype, [40, 24]] as const,
  [`one.${dtype}`, dtype, dtypeBits[dtype] < 8 ? [4] : []] as const,
]);

/** Every pair of encodings, with both operations. */
const forms = indexEncodings.flatMap((indices) =>
  valueEncodings.flatMap((values) => operations.map((operation) => ({ indices, values, operation }))),
);

t.test('each side applies an exact patch of every type that the other side wrote', { skip }, async (t) => {
  const folder = t.testdir({});
  const path = (name: string) => join(folder, name);
  const random = new SeededRandom(110);
  const base = everything.map((plan) => randomTensor(random, plan));
  const kinds = ['singles', 'runs', 'dense', 'none'] as const;
  const target = base.map((tensor, k) => changeTensor(random, tensor, kinds[k % 4] ?? 'none'));
  await writeSafetensors(path('base'), base, { format: 'pt' });
  await writeSafetensors(path('target'), target, { format: 'pt' });
  const patch = await patchModel(path('base'), path('target'), versions);
  await writeFile(path('ours'), await gather(patch.stream));
  await patch.close();
  const [read, made] = peer([
    { do: 'apply', base: path('base'), patch: path('ours'), out: path('theirs.out') },
    { do: 'make', base: path('base'), target: path('target'), patch: path('theirs'), ...named },
  ]);
  const wanted = await readFile(path('target'));
  t.match(read, { changed: patch.changed, digest: patch.identity.targetDigest.toString('hex') });
  t.ok((await readFile(path('theirs.out'))).equals(wanted), 'the peer made the target');
  t.match(made, { changed: patch.changed });
  const theirs = await readFile(path('theirs'));
  t.ok(
    (await applied(path('base'), theirs, path('ours.out'))).equals(wanted),
    'its patch made the target here',
  );
  t.ok(passes(theirs, 'deep'));
});

t.test('a patch that the peer writes in any encoding is applied here bit for bit', { skip }, async (t) => {
  const folder = t.testdir({});
  const path = (name: string) => join(folder, name);
  const random = new SeededRandom(111);
  await writeSafetensors(
    path('base'),
    floats.map((plan) => randomTensor(random, plan)),
  );
  const jobs = forms.map((form, seed) => {
    return {
      do: 'bend',
      base: path('base'),
      target: path(`${seed}.target`),
      patch: path(`${seed}.patch`),
      seed,
      ...named,
      ...form,
    };
  });
  const answers = peer(jobs);
  for (const [k, form] of forms.entries()) {
    const stream = await readFile(path(`${k}.patch`));
    t.match(answers[k], { changed: Number });
    t.ok(passes(stream, 'deep'), `the check passes ${JSON.stringify(form)}`);
    const made = await applied(path('base'), stream, path(`${k}.made`));
    t.ok(made.equals(await readFile(path(`${k}.target`))), 'the weights are equal bit for bit');
  }
  t.comment(`${forms.length} encodings written by the peer, applied here`);
});

/** Changes of one tensor whose smallest index encoding is the given one. */
function indicesFor(random: SeededRandom, encoding: IndexEncoding, end: number): Float64Array {
  const dense = (share: number) => random.rising(end, share);
  const made = {
    gap: () => dense(0.02),
    run: () => random.rising(end, 0.1, 16),
    bitmap: () => dense(0.5),
    range: () => Float64Array.from({ length: 100 }, (_, k) => 300 + k),
  }[encoding]();
  if (smallest(indexSizes(made)) !== encoding) throw new Error(`${encoding} is not the smallest`);
  return made;
}

async function writeForm(
  t: Test,
  base: readonly RandomTensor[],
  form: { indices: IndexEncoding; values: ValueEncoding; operation: Operation },
  random: SeededRandom,
): Promise<{ base: string; target: string; stream: Buffer }> {
  const folder = t.testdir({});
  const [from, to] = [join(folder, 'base'), join(folder, 'target')];
  await writeSafetensors(from, base);
  const file = await openSafetensors(from);
  const { values, operation } = form;
  const target = base.map((tensor) => ({ ...tensor, data: Buffer.from(tensor.data) }));
  const changes = file.tensors.map((entry, tensorId): TensorChange => {
    const indices = indicesFor(random, form.indices, entry.elementCount);
    const scale = values === 'i8' ? Math.fround(random.next() * 3 - 1) : 0;
    const given = random.bytes(indices.length * valueSizes[values]);
    const data = target.find(({ name }) => name === entry.name)?.data ?? Buffer.alloc(0);
    const memory = Buffer.from(new Uint8Array(data).buffer);
    setElements({ bytes: memory, first: 0 }, entry, {
      indices,
      values: given,
      form: { operation, values, scale },
    });
    memory.copy(data);
    return {
      tensor: tensorFields(tensorId, entry),
      indices,
      values: given,
      encoding: values,
      operation,
      scale,
    };
  });
  const baseDigest = await modelDigest(file);
  await file.close();
  await writeSafetensors(to, target);
  const made = await openSafetensors(to);
  const identity = {
    ...versions,
    streamId: Buffer.alloc(16, 1),
    tensorCount: base.length,
    totalParams: 100_000,
    totalChanged: 0,
    threshold: 0,
    baseDigest,
    targetDigest: await modelDigest(made),
  };
  await made.close();
  const stream = await gather(writePatch(identity, changes));
  await writeFile(join(folder, 'patch'), stream);
  return { base: from, target: to, stream };
}

t.test('a patch written here in any encoding is applied by the peer bit for bit', { skip }, async (t) => {
  const random = new SeededRandom(112);
  const base = floats.map((plan) => randomTensor(random, plan));
  const written: { base: string; target: string; stream: Buffer }[] = [];
  for (const form of forms) {
    await t.test(`the peer applies ${JSON.stringify(form)}`, async (t) => {
      const one = await writeForm(t, base, form, random);
      written.push(one);
      const [answer] = peer([
        {
          do: 'apply',
          base: one.base,
          patch: join(one.base, '..', 'patch'),
          out: join(one.base, '..', 'out'),
        },
      ]);
      t.match(answer, { tensors: 3 });
      const wanted = await readFile(one.target);
      t.ok((await readFile(join(one.base, '..', 'out'))).equals(wanted), 'the peer made the target');
      t.ok(
        (await applied(one.base, one.stream, join(one.base, '..', 'ours'))).equals(wanted),
        'the same target was made here',
      );
    });
  }
  t.equal(written.length, 32);
  t.comment(`${written.length} encodings written here, applied by the peer`);
});

t.test('the peer refuses spoiled streams too', { skip }, async (t) => {
  const random = new SeededRandom(113);
  const base = floats.map((plan) => randomTensor(random, plan));
  const { base: path, stream } = await writeForm(
    t,
    base,
    { indices: 'gap', values: 'f32', operation: 'set' },
    random,
  );
  const jobs = [];
  for (let k = 0; k < 60; k++) {
    const spoiled = Buffer.from(stream);
    const bit = random.below(stream.length * 8);
    spoiled[bit >>> 3] = (spoiled[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    const patch = join(path, '..', `spoiled-${k}`);
    await writeFile(patch, k % 2 === 0 ? spoiled : stream.subarray(0, random.below(stream.length)));
    jobs.push({ do: 'apply', base: path, patch, out: join(path, '..', 'none') });
  }
  const taken = peer(jobs).filter(({ refused }) => typeof refused !== 'string');
  t.same(taken, []);
  await t.rejects(readFile(join(path, '..', 'none')), { code: 'ENOENT' });
});
