/** The shadow equals the receiver: pushes are exact against it, or deviate by at most the threshold. */

import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type PushOptions, planPush, pushPatch } from '../../gateway/push/push.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { cutLine } from './cutting-line.ts';
import { furthest, valuesOf, Weights } from './weights.ts';

const modelId = 'bert_tiny';

/** A node at version 0, and a trainer with a shadow. */
async function setTrainer(t: Test) {
  const folder = await newFolder(t);
  const at = (name: string): string => join(folder, name);
  const weights = new Weights(96, 3000);
  await weights.save(at('base'));
  const root = at('models');
  await createModel(root, modelId, at('base'));
  const node = await startSyncNode({ root });
  t.teardown(() => node.close());
  const options = {
    to: node.url,
    modelId,
    targetPath: at('target'),
    shadowPath: at('shadow'),
    pauseMs: 1,
  } satisfies PushOptions;
  const held = (version: number) => valuesOf(join(root, modelId, `${version}.safetensors`));
  return { at, weights, options, node, held };
}

t.test('a loop needs only a shadow for its pushes, which is fetched at first', async (t) => {
  const { at, weights, options, held } = await setTrainer(t);
  for (let version = 1; version <= 3; version++) {
    weights.step(1e-3);
    await weights.save(at('target'));
    t.match(await pushPatch(options), { status: 201, version });
    t.same(await held(version), weights.values);
    t.same(await valuesOf(at('shadow')), weights.values);
  }
  weights.step(1e-3);
  await weights.save(at('target'));
  const lossy = await pushPatch({ ...options, threshold: 5e-4 });
  t.ok(lossy.changed < 3000 && lossy.changed > 0, `${lossy.changed} weights were sent`);
  t.ok(furthest(await held(4), weights.values) <= 5e-4);
  t.ok((await pushPatch(options)).changed === 3000 - lossy.changed, 'an exact push sends the rest');
  t.same(await held(5), weights.values);
});

t.test('a dry run sends nothing and reports what the push then sends', async (t) => {
  const { at, weights, options, node } = await setTrainer(t);
  weights.step(1e-3);
  await weights.save(at('target'));
  const plan = await planPush({ ...options, basePath: at('base') });
  t.match(plan, {
    baseVersion: 0,
    targetVersion: 1,
    parameters: 3000,
    tensors: 1,
    streamId: /^[0-9a-f]{32}$/,
  });
  const told = await fetch(`${node.url}/v1/models/${modelId}`).then((response) => response.json());
  t.match(told, { version: 0 });
  t.match(await pushPatch(options), { changed: plan.changed, bytesSent: plan.bytes });
});

t.test('the shadow advances only when the receiver has confirmed', async (t) => {
  const { at, weights, options, node } = await setTrainer(t);
  const before = Float32Array.from(weights.values);
  weights.step(1e-3);
  await weights.save(at('target'));
  await copyFile(at('base'), at('shadow'));
  const refused = await cutLine(
    t,
    node.port,
    Array.from({ length: 9 }, () => ({ sent: 600 })),
  );
  await t.rejects(pushPatch({ ...options, to: refused.url, retries: 1 }));
  t.same(await valuesOf(at('shadow')), before, 'a failed push leaves the shadow unchanged');
  const lost = await cutLine(
    t,
    node.port,
    Array.from({ length: 9 }, () => ({ answer: 'HTTP/1.1 201' })),
  );
  await t.rejects(pushPatch({ ...options, to: lost.url, retries: 0 }));
  t.same(await valuesOf(at('shadow')), before, 'a push whose answer was lost leaves the shadow unchanged');
  weights.step(1e-3);
  await weights.save(at('target'));
  t.match(await pushPatch(options), { status: 201, version: 2 }, 'the next push finds out that it arrived');
});

t.test('a shadow that differs from the receiver is reported with what the receiver has', async (t) => {
  const { at, weights, options } = await setTrainer(t);
  weights.step(1e-3);
  await weights.save(at('shadow'));
  await weights.save(at('target'));
  await t.rejects(pushPatch(options), {
    message:
      /shadow is not what the receiver has; the receiver is at version 0, digest [0-9a-f]{64}: pull it/,
  });
  await writeFile(at('shadow'), 'torn');
  await t.rejects(pushPatch(options), { message: /is not what the receiver has/ });
});

t.test('of two trainers on one base one wins, and the other can rebase its change', async (t) => {
  const { at, options, held, weights } = await setTrainer(t);
  const base = Float32Array.from(weights.values);
  const edited = async (name: string, from: number, value: number) => {
    weights.values.set(base);
    for (let k = from; k < from + 10; k++) weights.values[k] = value;
    await weights.save(at(name));
    await copyFile(at('base'), at(`${name}-shadow`));
    return { ...options, targetPath: at(name), shadowPath: at(`${name}-shadow`) };
  };
  const [one, two] = [await edited('one', 0, 5), await edited('two', 5, 7)];
  const outcomes = await Promise.allSettled([pushPatch(one), pushPatch(two)]);
  t.same(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const oneWon = outcomes[0]?.status === 'fulfilled';
  const loser = oneWon ? two : one;
  await t.rejects(pushPatch(loser), { message: /the receiver is at version 1, .*--rebase/ });
  const result = await pushPatch({ ...loser, rebase: true });
  t.match(result, { status: 201, version: 2, rebased: true, changed: 10 });
  const merged = Float32Array.from(base);
  for (const [from, value] of oneWon
    ? [[0, 5] as const, [5, 7] as const]
    : [[5, 7] as const, [0, 5] as const]) {
    for (let k = from; k < from + 10; k++) merged[k] = value;
  }
  t.same(await held(2), merged, 'both changes are there, the later one over the earlier');
  t.same(await valuesOf(loser.shadowPath), merged, 'the shadow has both changes');
});

t.test('trainers that rebase at the same time all arrive', async (t) => {
  const { at, options, weights, held } = await setTrainer(t);
  const pushes = ['one', 'two', 'three'].map(async (name, k) => {
    const own = new Weights(96, 3000);
    own.values[k] = 9;
    await own.save(at(name));
    return pushPatch({
      ...options,
      targetPath: at(name),
      shadowPath: at(`${name}-shadow`),
      basePath: at('base'),
      rebase: true,
    });
  });
  const versions = (await Promise.all(pushes)).map(({ version }) => version);
  t.same(versions.toSorted(), [1, 2, 3]);
  weights.values.set([9, 9, 9]);
  t.same(await held(3), weights.values);
});

t.test('a push that is not exact needs a shadow', async (t) => {
  const { at, options, weights } = await setTrainer(t);
  await weights.save(at('target'));
  const { shadowPath: _, ...without } = options;
  await t.rejects(pushPatch(without), { message: 'a base or a shadow is required' });
  const base = { ...without, basePath: at('base') };
  for (const more of [{ threshold: 1e-5 }, { values: 'bf16' as const }, { rebase: true }]) {
    await t.rejects(pushPatch({ ...base, ...more }), { message: /require a shadow$/ });
  }
  await rm(at('base'));
  await t.rejects(pushPatch({ ...options, basePath: at('base') }), { message: /ENOENT/ });
});
