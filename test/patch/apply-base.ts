/** A model to patch, good patches of it, and a way to apply any stream to it. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type ApplyExpectation, applyPatch } from '../../gateway/patch/apply.ts';
import { modelDigest } from '../../gateway/patch/digest.ts';
import { type PatchFault, PatchFaultError } from '../../gateway/patch/fault.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel } from '../../gateway/patch/write.ts';
import { changeTensor, gather, randomTensor } from './random-model.ts';
import { SeededRandom } from './seeded-random.ts';

const identity = { modelId: 'bert_tiny', baseVersion: 4, targetVersion: 5, epoch: 3 };

/** A folder with a base, and a good patch of it. */
export async function setBase(t: Test, shape: readonly number[] = [10, 10]) {
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
export async function goodPatch(
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

/** Applies a stream to the base and returns the fault, or undefined if it was applied. */
export async function apply(
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

/** Expects that nothing was made and the base is unchanged. */
export async function nothingMade(t: Test, { folder, basePath }: Base, before: Buffer): Promise<void> {
  t.same(
    (await readdir(folder)).filter((name) => name !== 'target'),
    ['base'],
  );
  t.ok((await readFile(basePath)).equals(before), 'the base is unchanged');
}
