/** Makes a patch from given changes to what a receiver has; writes the resulting model first, as none exists yet. */

import { rm } from 'node:fs/promises';
import type { TensorChange } from './diff.ts';
import { modelDigest } from './digest.ts';
import { ModelCopy } from './model-copy.ts';
import type { SafetensorsFile } from './safetensors.ts';
import { openModel } from './shards.ts';
import { TensorWriter } from './tensor-writer.ts';
import { type ModelPatch, type ModelPatchOptions, measurePatch, writePatch } from './write.ts';

/** Returns the same changes on every call. */
export type RepeatableChanges = () => AsyncIterable<TensorChange>;

export interface GivenChanges {
  /** What the receiver has. */
  readonly base: SafetensorsFile;
  readonly changes: RepeatableChanges;
  /** The resulting model is written there and replaces what is there. */
  readonly resultPath: string;
  /** Changes up to this size were left out; OPEN announces it. */
  readonly threshold: number;
}

/**
 * Writes the model the changes make, for its digest, and prepares the patch that makes it. Iterates over the changes
 * twice, and once more for each iteration of the stream, in constant memory. The resulting model is on disk when this
 * resolves. Throws SafetensorsError and what the changes throw. `close` closes the base.
 */
export async function patchOfChanges(given: GivenChanges, options: ModelPatchOptions): Promise<ModelPatch> {
  const { base, changes, resultPath, threshold } = given;
  await writeChanged(base, changes(), resultPath);
  const digests = { baseDigest: await modelDigest(base), targetDigest: await modelFileDigest(resultPath) };
  const measured = await measurePatch(base, changes(), digests, { ...options, threshold });
  const stream = { [Symbol.asyncIterator]: () => writePatch(measured.identity, changes()) };
  const { totalChanged: changed } = measured.identity;
  return { ...measured, changed, modelBytes: base.sizeBytes, stream, close: () => base.close() };
}

/** The digest of a model file. Throws SafetensorsError. */
export async function modelFileDigest(path: string): Promise<Buffer> {
  const file = await openModel(path);
  try {
    return await modelDigest(file);
  } finally {
    await file.close();
  }
}

async function writeChanged(
  base: SafetensorsFile,
  changes: AsyncIterable<TensorChange>,
  path: string,
): Promise<void> {
  await rm(path, { recursive: true, force: true });
  const copy = await ModelCopy.create(base, path);
  const entries = new Map(base.tensors.map((entry) => [entry.name, entry]));
  try {
    let current: { readonly name: string; readonly writer: TensorWriter } | undefined;
    for await (const { tensor, indices, values, encoding, operation = 'set', scale = 1 } of changes) {
      if (current?.name !== tensor.name) {
        await current?.writer.flush();
        const entry = entries.get(tensor.name);
        if (entry === undefined) throw new RangeError(`the base has no tensor ${tensor.name}`);
        current = { name: tensor.name, writer: new TensorWriter(copy.handleOf(entry), entry, tensor) };
      }
      await current.writer.write({ indices, values, form: { operation, values: encoding, scale } });
    }
    await current?.writer.flush();
    await copy.sync();
  } finally {
    await copy.close();
  }
}
