/** The shadow is what the receiver has: pushes are exact against it, or never further off than the threshold. */

import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { valueFormats } from '../../gateway/patch/element.ts';
import { decodeIndices } from '../../gateway/patch/index-encoding.ts';
import { type ValueEncoding, valueSizes } from '../../gateway/patch/layout.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { type PushOptions, planPush, pushPatch } from '../../gateway/push/push.ts';
import { Shadow } from '../../gateway/push/shadow.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { cutLine } from './cutting-line.ts';

const modelId = 'bert_tiny';

/** Weights that are trained: small steps of all of them. */
class Weights {
  readonly values: Float32Array;
  readonly #random: SeededRandom;

  constructor(seed: number, count: number) {
    this.#random = new SeededRandom(seed);
    this.values = new Float32Array(count).map(() => this.#random.next() * 2 - 1);
  }

  step(size: number): void {
    for (let k = 0; k < this.values.length; k++) {
      this.values[k] = (this.values[k] ?? 0) + (this.#random.next() - 0.4) * size;
    }
  }

  save(path: string): Promise<void> {
    const data = Buffer.from(this.values.buffer.slice(0));
    return writeSafetensors(path, [{ name: 'w', dtype: 'F32', shape: [this.values.length], data }]);
  }

  /** Writes the weights over those of a file that was saved, and does not wait for the disk. */
  async overwrite(path: string): Promise<void> {
    const file = await readFile(path);
    const data = Buffer.from(this.values.buffer);
    data.copy(file, file.length - data.length);
    await writeFile(path, file);
  }
}

async function valuesOf(path: string): Promise<Float32Array> {
  const file = await openSafetensors(path);
  const [entry] = file.tensors;
  if (entry === undefined) throw new Error('no tensor');
  const bytes = await file.read(entry, 0, entry.byteLength);
  await file.close();
  return new Float32Array(new Uint8Array(bytes).buffer);
}

function furthest(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, k) => Math.max(most, Math.abs(value - (b[k] ?? 0))), 0);
}

/** A receiver of its own: what the streams make of its weights, without the shadow's help. */
async function trainAgainst(
  t: Test,
  steps: number,
  precision: { readonly threshold: number; readonly values?: ValueEncoding },
) {
  const folder = await newFolder(t);
  const at = (name: string): string => join(folder, name);
  const weights = new Weights(95, 200);
  const shadow = new Shadow(at('shadow'));
  await weights.save(at('target'));
  await shadow.begin(at('target'));
  const received = Float32Array.from(weights.values);
  let [bytes, changed] = [0, 0];
  for (let step = 0; step < steps; step++) {
    weights.step(4e-6);
    await weights.overwrite(at('target'));
    const options = { modelId, baseVersion: step, targetVersion: step + 1, epoch: 0 };
    const patch = await shadow.patchTo(at('target'), precision, options);
    await receive(received, patch.stream);
    await patch.close();
    await shadow.advance();
    bytes += patch.bytes;
    changed += patch.changed;
  }
  return { received, weights: weights.values, bytes, changed, shadow: await valuesOf(at('shadow')) };
}

/** Applies a stream of f32, f16, bf16 or i8 values as the format says, one weight after another. */
async function receive(weights: Float32Array, stream: AsyncIterable<Buffer>): Promise<void> {
  for await (const { header, payload } of readPatch(stream)) {
    if (header.type !== 'patch') continue;
    const size = valueSizes[header.values];
    const indices = decodeIndices(
      header,
      payload.subarray(header.count * size, header.count * size + header.indexLength),
    );
    if (!(indices instanceof Float64Array)) throw new Error(indices.detail);
    const bytes = new DataView(payload.buffer, payload.byteOffset, payload.length);
    for (const [k, index] of indices.entries()) {
      const value = valueFormats[header.values].read(bytes, k * size);
      const given = header.values === 'i8' ? Math.fround(value * header.scale) : value;
      weights[index] = header.operation === 'add' ? (weights[index] ?? 0) + given : given;
    }
  }
}

t.test('after 1,000 lossy steps no weight is further off than the threshold', async (t) => {
  const threshold = 1e-5;
  const { received, weights, changed, shadow } = await trainAgainst(t, 1000, { threshold });
  const off = furthest(received, weights);
  t.ok(off <= threshold, `${off} off`);
  t.ok(changed < 1000 * weights.length * 0.5, `${changed} weights sent of ${1000 * weights.length}`);
  const start = new Weights(95, 200).values;
  t.ok(furthest(weights, start) > 20 * threshold, 'though each moved much further in all');
  t.same(shadow, received, 'the shadow is what the receiver has, to the bit');
});

const roundings: readonly (readonly [ValueEncoding, number])[] = [
  ['f16', 2 ** -11],
  ['bf16', 2 ** -8],
  ['i8', 2e-5],
];
t.test('values in fewer bits stay within their rounding, and do not drift', async (t) => {
  const exact = await trainAgainst(t, 30, { threshold: 1e-5 });
  for (const [values, bound] of roundings) {
    const { received, weights, bytes } = await trainAgainst(t, 30, { threshold: 1e-5, values });
    const off = furthest(received, weights);
    t.ok(off <= Math.max(1e-5, bound * 1.001), `${off} off with ${values}`);
    t.ok(bytes < exact.bytes, `${bytes} bytes, exact values ${exact.bytes}`);
  }
});

t.test('weights beyond what the encoding reaches are sent exactly, and none becomes infinite', async (t) => {
  const rows: readonly (readonly [ValueEncoding, readonly number[], readonly number[]])[] = [
    ['f16', [1, 2], [70_000, 2.5]],
    ['bf16', [1, 2], [3.4028e38, 2.5]],
    ['i8', [-3e38, 2], [3e38, 2.5]],
    ['f16', [1, 2], [Number.POSITIVE_INFINITY, 2.5]],
  ];
  for (const [values, from, to] of rows) {
    const folder = await newFolder(t);
    const at = (name: string): string => join(folder, name);
    const weights = new Weights(95, from.length);
    weights.values.set(from);
    await weights.save(at('base'));
    weights.values.set(to);
    await weights.save(at('target'));
    const shadow = new Shadow(at('shadow'));
    await shadow.begin(at('base'));
    const options = { modelId, baseVersion: 0, targetVersion: 1, epoch: 0 };
    const patch = await shadow.patchTo(at('target'), { threshold: 0, values }, options);
    const received = Float32Array.from(from);
    await receive(received, patch.stream);
    await patch.close();
    t.same(received, weights.values, `${to} as ${values}`);
    t.same(await valuesOf(shadow.nextPath), received);
  }
});

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

t.test('a loop pushes again and again with nothing but a shadow, which is brought at first', async (t) => {
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
  t.ok(lossy.changed < 3000 && lossy.changed > 0, `${lossy.changed} sent`);
  t.ok(furthest(await held(4), weights.values) <= 5e-4);
  t.ok((await pushPatch(options)).changed === 3000 - lossy.changed, 'an exact push sends what is left');
  t.same(await held(5), weights.values);
});

t.test('what a dry run tells is what the push then sends, and nothing is sent by it', async (t) => {
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

t.test('the shadow moves on when the receiver has said so, and not before', async (t) => {
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
  t.same(await valuesOf(at('shadow')), before, 'a push that failed leaves it');
  const lost = await cutLine(
    t,
    node.port,
    Array.from({ length: 9 }, () => ({ answer: 'HTTP/1.1 201' })),
  );
  await t.rejects(pushPatch({ ...options, to: lost.url, retries: 0 }));
  t.same(await valuesOf(at('shadow')), before, 'and one whose answer was lost');
  weights.step(1e-3);
  await weights.save(at('target'));
  t.match(await pushPatch(options), { status: 201, version: 2 }, 'the next finds out that it arrived');
});

t.test('a shadow that is not what the receiver has is told, with what it has', async (t) => {
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

t.test(
  'of two trainers on one base one wins; the other is told, and can put its change on top',
  async (t) => {
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
    t.same(await held(2), merged, 'both changes are there, the later over the earlier');
    t.same(await valuesOf(loser.shadowPath), merged, 'and the shadow holds both');
  },
);

t.test('two trainers that rebase at the same time both arrive', async (t) => {
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

t.test('what is not exact needs a shadow', async (t) => {
  const { at, options, weights } = await setTrainer(t);
  await weights.save(at('target'));
  const { shadowPath: _, ...without } = options;
  await t.rejects(pushPatch(without), { message: 'a base or a shadow must be given' });
  const base = { ...without, basePath: at('base') };
  for (const more of [{ threshold: 1e-5 }, { values: 'bf16' as const }, { rebase: true }]) {
    await t.rejects(pushPatch({ ...base, ...more }), { message: /needs a shadow$/ });
  }
  await rm(at('base'));
  await t.rejects(pushPatch({ ...options, basePath: at('base') }), { message: /ENOENT/ });
});
