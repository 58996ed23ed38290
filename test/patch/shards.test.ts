/** Models in several files are read as one in name order, patched, and written back as the same files. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { modelDigest } from '../../gateway/patch/digest.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { INDEX_NAME, openModel } from '../../gateway/patch/shards.ts';
import { patchModel } from '../../gateway/patch/write.ts';
import { arriving, changeTensor, gather, type RandomTensor, randomTensor } from './random-model.ts';
import { SeededRandom } from './seeded-random.ts';
import { writeShards } from './sharded-model.ts';

const identity = { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 };

const random = new SeededRandom(90);
const plans = ['z.0', 'a.1', 'm.2', 'a.0', 'ß.0', 'k.3'].map(
  (name, k) => [name, (['F32', 'BF16', 'I64'] as const)[k % 3] ?? 'F32', [40 + k]] as const,
);
const base = plans.map((plan) => randomTensor(random, plan));
const target = base.map((tensor) => changeTensor(random, tensor, 'singles'));
const bySize = ({ data }: RandomTensor) => 1 + (data.length % 3);
const byName = ({ name }: RandomTensor) => (name < 'b' ? 1 : 2);

/** Every file of a folder. */
async function contents(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'hex')])),
  );
}

t.test('several files are one model with the tensors, bytes and digest of a single file', async (t) => {
  const folder = t.testdir({});
  const shards = await writeShards(join(folder, 'shards'), base, bySize);
  await writeSafetensors(join(folder, 'one'), base);
  const one = await openSafetensors(join(folder, 'one'));
  for (const path of [shards, join(shards, INDEX_NAME)]) {
    const model = await openModel(path);
    t.same(
      model.tensors.map(({ name }) => name),
      one.tensors.map(({ name }) => name),
      'tensors are in name order',
    );
    t.same(await modelDigest(model), await modelDigest(one));
    for (const [k, entry] of model.tensors.entries()) {
      const other = one.tensors[k];
      if (other === undefined) return;
      t.same(await model.read(entry, 0, entry.byteLength), await one.read(other, 0, other.byteLength));
    }
    await model.close();
  }
  await one.close();
});

t.test('a folder with one model file is that model', async (t) => {
  const folder = t.testdir({});
  await writeSafetensors(join(folder, 'model.safetensors'), base);
  const model = await openModel(folder);
  t.equal(model.tensors.length, base.length);
  await model.close();
  await t.rejects(openModel(join(folder, 'none')), { name: 'SafetensorsError' });
});

for (const [title, targetShard] of [
  ['like the base', bySize],
  ['differently from the base', byName],
] as const) {
  t.test(`a patch to a target sharded ${title} keeps the files of the base`, async (t) => {
    const folder = t.testdir({});
    const from = await writeShards(join(folder, 'from'), base, bySize);
    const to = await writeShards(join(folder, 'to'), target, targetShard);
    const patch = await patchModel(from, to, identity);
    const stream = await gather(patch.stream);
    await patch.close();
    const before = await contents(from);
    const model = await openModel(from);
    const made = join(folder, 'made');
    const applied = await applyPatch(model, readPatch(arriving(stream, 100)), made, identity);
    await model.close();
    t.same(applied.digest, patch.identity.targetDigest);
    t.same(await contents(from), before, 'the base is unchanged');
    const wanted = await contents(await writeShards(join(folder, 'wanted'), target, bySize));
    t.same(await contents(made), wanted);
  });
}

t.test('a stream that breaks off leaves no folder, and an existing one is not touched', async (t) => {
  const folder = t.testdir({});
  const from = await writeShards(join(folder, 'from'), base, bySize);
  const to = await writeShards(join(folder, 'to'), target, bySize);
  const patch = await patchModel(from, to, identity);
  const stream = await gather(patch.stream);
  await patch.close();
  const apply = async (bytes: Buffer, out: string) => {
    const model = await openModel(from);
    await applyPatch(model, readPatch(arriving(bytes)), out, identity).finally(() => model.close());
  };
  await t.rejects(apply(stream.subarray(0, -1), join(folder, 'made')), { name: 'PatchFaultError' });
  t.same((await readdir(folder)).sort(), ['from', 'to']);
  await t.rejects(apply(stream, to), { code: 'EEXIST' });
  t.same(await contents(to), await contents(await writeShards(join(folder, 'again'), target, bySize)));
});

/** An index of one shard with the tensor `w`, bent. */
const indexes: readonly (readonly [title: string, index: string, reason: string])[] = [
  ['text that is not JSON', '{', 'the index is not a JSON object'],
  ['a list', '[]', 'the index is not a JSON object'],
  ['no weight map', '{}', 'weight_map is not an object of strings'],
  ['a map of numbers', '{"weight_map":{"w":1}}', 'weight_map is not an object of strings'],
  ['a tensor twice', '{"weight_map":{"w":"a.safetensors","w":"a.safetensors"}}', 'duplicate key w'],
  [
    'a file above the folder',
    '{"weight_map":{"w":"../a.safetensors"}}',
    'not a safetensors file beside the index',
  ],
  [
    'a path from the root',
    '{"weight_map":{"w":"/a.safetensors"}}',
    'not a safetensors file beside the index',
  ],
  ['a hidden file', '{"weight_map":{"w":".a.safetensors"}}', 'not a safetensors file beside the index'],
  ['a file of another kind', '{"weight_map":{"w":"passwd"}}', 'not a safetensors file beside the index'],
  [
    'a NUL in a name',
    '{"weight_map":{"w":"a\\u0000.safetensors"}}',
    'not a safetensors file beside the index',
  ],
  ['a file that is not there', '{"weight_map":{"w":"b.safetensors"}}', 'ENOENT'],
  [
    'a tensor no file has',
    '{"weight_map":{"w":"a.safetensors","x":"a.safetensors"}}',
    'tensor x is not in a.safetensors',
  ],
  [
    'a tensor the index leaves out',
    '{"weight_map":{"v":"a.safetensors"}}',
    'w is in a.safetensors, the index says no file',
  ],
  [
    'a tensor in two files',
    '{"weight_map":{"w":"a.safetensors","v":"c.safetensors"}}',
    'tensor w is in c.safetensors, the index says a.safetensors',
  ],
];

async function bentModel(t: Test, index: string): Promise<string> {
  const folder = t.testdir({ [INDEX_NAME]: index });
  const tensor = (name: string) => randomTensor(new SeededRandom(91), [name, 'U8', [3]]);
  await writeSafetensors(join(folder, 'a.safetensors'), [tensor('w')]);
  await writeSafetensors(join(folder, 'c.safetensors'), [tensor('v'), tensor('w')]);
  return folder;
}

for (const [title, index, reason] of indexes) {
  t.test(`an index with ${title} is refused`, async (t) => {
    const folder = await bentModel(t, index);
    await t.rejects(openModel(folder), {
      name: 'SafetensorsError',
      message: new RegExp(reason.replaceAll(/[.[\]()]/g, '\\$&')),
    });
  });
}
