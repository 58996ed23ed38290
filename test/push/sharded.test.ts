/** A model in several files is pushed like a single file: the receiver gets it exactly, and the shadow is one file. */

import { access, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { modelFileDigest } from '../../gateway/patch/given-changes.ts';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { INDEX_NAME, openModel } from '../../gateway/patch/shards.ts';
import { type PushOptions, planPush, pushPatch } from '../../gateway/push/push.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { changeTensor, type RandomTensor, randomTensor } from '../patch/random-model.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { writeShards } from '../patch/sharded-model.ts';

const modelId = 'bert_tiny';
/** Large enough that tensors are copied in several pieces. */
const plans = [
  ['z', 'F32', [300_000]],
  ['a', 'BF16', [70, 10]],
  ['m', 'F32', [1000]],
  ['none', 'F32', [0]],
] as const;
const byName = ({ name }: RandomTensor) => (name < 'b' ? 1 : 2);
const byLength = ({ data }: RandomTensor) => (data.length > 4000 ? 1 : 3);

/** Three steps of a model in several files, split differently in each step, and a node that begins with `first`. */
async function setNode(t: Test, first: 'one file' | 'several files') {
  const folder = await newFolder(t);
  const at = (name: string): string => join(folder, name);
  const random = new SeededRandom(97);
  const steps: RandomTensor[][] = [plans.map((plan) => randomTensor(random, plan))];
  for (let step = 1; step < 3; step++) {
    steps.push((steps[step - 1] ?? []).map((tensor) => changeTensor(random, tensor, 'singles')));
  }
  for (const [step, tensors] of steps.entries()) {
    await writeShards(at(`step-${step}`), tensors, step === 1 ? byLength : byName);
    await writeSafetensors(at(`whole-${step}`), tensors);
  }
  const root = at('models');
  await createModel(root, modelId, first === 'one file' ? at('whole-0') : at('step-0'));
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  const held = (version: number) => readFile(join(root, modelId, `${version}.safetensors`));
  const whole = (step: number) => readFile(at(`whole-${step}`));
  return { at, held, whole, root, options: { to: node.url, modelId, pauseMs: 1 } };
}

async function sizeOf(path: string): Promise<number> {
  const model = await openModel(path);
  await model.close();
  return model.sizeBytes;
}

for (const first of ['one file', 'several files'] as const) {
  t.test(`a folder is pushed to a node that began with ${first}`, async (t) => {
    const { at, held, whole, options } = await setNode(t, first);
    t.ok((await held(0)).equals(await whole(0)), 'the node keeps one file');
    const push = { ...options, basePath: at('step-0'), targetPath: at('step-1') };
    const { modelBytes, bytes } = await planPush(push);
    t.equal(modelBytes, await sizeOf(at('step-1')), 'this is the size of all files');
    const result = await pushPatch(push);
    const digest = (await modelFileDigest(at('step-1'))).toString('hex');
    t.match(result, { status: 201, version: 1, digest, modelBytes, bytesSent: bytes });
    t.ok((await held(1)).equals(await whole(1)), 'the weights are equal bit for bit');
    const index = join(at('step-2'), INDEX_NAME);
    t.match(await pushPatch({ ...options, basePath: at('whole-1'), targetPath: index }), { version: 2 });
    t.ok((await held(2)).equals(await whole(2)), 'a push from a file to an index arrives');
  });
}

t.test('a shadow works with a target in several files, exactly or not', async (t) => {
  const { at, held, whole, options } = await setNode(t, 'one file');
  const shadowPath = at('shadow');
  const begun = { ...options, shadowPath, basePath: at('step-0'), targetPath: at('step-1') };
  t.match(await pushPatch(begun), { status: 201, version: 1 });
  t.ok((await held(1)).equals(await whole(1)));
  t.ok((await readFile(shadowPath)).equals(await whole(1)), 'the shadow is one file');
  const lossy = { ...options, shadowPath, targetPath: at('step-2'), threshold: 0.5 };
  t.match(await pushPatch(lossy), { status: 201, version: 2 });
  t.ok((await readFile(shadowPath)).equals(await held(2)));
  t.match(await pushPatch({ ...options, shadowPath, targetPath: at('step-2') }), { status: 201, version: 3 });
  t.ok((await held(3)).equals(await whole(2)));
  const names = (await readdir(at('.'))).filter((name) => name.startsWith('shadow'));
  t.same(names, ['shadow'], 'nothing is left beside the shadow');
});

t.test('a shadow that is a folder or an index is refused before anything is sent', async (t) => {
  const { at, root, options } = await setNode(t, 'one file');
  const told: number[] = [];
  for (const shadowPath of [at('step-0'), join(at('step-0'), INDEX_NAME)]) {
    const push: PushOptions = {
      ...options,
      shadowPath,
      targetPath: at('step-1'),
      onProgress: (sent) => told.push(sent),
    };
    await t.rejects(pushPatch(push), {
      name: 'TransferError',
      message: `${shadowPath} cannot be a shadow: expected a file, got a folder or an index`,
    });
  }
  t.same(told, []);
  await t.rejects(access(join(root, modelId, '1.safetensors')), { code: 'ENOENT' });
});

t.test('a target that lacks a file or its index is reported before anything is sent', async (t) => {
  const { at, root, options } = await setNode(t, 'one file');
  const shard = 'model-00003-of-00003.safetensors';
  await rm(join(at('step-1'), shard));
  await mkdir(at('empty'));
  for (const more of [{}, { shadowPath: at('shadow') }]) {
    const push = { ...options, ...more, basePath: at('whole-0') };
    await t.rejects(pushPatch({ ...push, targetPath: at('step-1') }), {
      name: 'TransferError',
      message: /00003\.safetensors: ENOENT/,
    });
    await t.rejects(pushPatch({ ...push, targetPath: at('empty') }), {
      message: /empty\/model\.safetensors: ENOENT/,
    });
  }
  await t.rejects(createModel(root, 'other_model', at('step-1')), { name: 'SafetensorsError' });
  await t.rejects(access(join(root, modelId, '1.safetensors')), { code: 'ENOENT' });
});
