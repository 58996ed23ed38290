/** Puts a model into the folder of a sync node, as version 0. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { modelDigest } from '../patch/digest.ts';
import { copyAsOneFile } from '../patch/one-file.ts';
import { openSafetensors, syncFolder } from '../patch/safetensors.ts';
import { type ModelVersion, readState, writeState } from './model-state.ts';

const MODEL_ID = /^[a-z0-9_]{3,32}$/;

export function isModelId(text: string): boolean {
  return MODEL_ID.test(text);
}

/**
 * Copies the model at `path` (see `openModel`); it may have several files, the node keeps one. Throws if the id is
 * invalid or taken, or if there is no model at `path`.
 */
export async function createModel(root: string, modelId: string, path: string): Promise<void> {
  if (!isModelId(modelId))
    throw new Error(`${modelId} is not a model id: expected 3 to 32 of a-z, 0-9 and _`);
  const folder = join(root, modelId);
  if ((await readState(folder)) !== undefined) throw new Error(`model ${modelId} already exists`);
  await mkdir(folder, { recursive: true });
  const weights = join(folder, '0.safetensors');
  await copyAsOneFile(path, weights);
  const described = await describe(weights);
  await writeState(folder, { version: 0, versions: { 0: described }, published: [], streams: {} });
  await syncFolder(root);
}

async function describe(path: string): Promise<ModelVersion> {
  const file = await openSafetensors(path);
  try {
    const parameters = file.tensors.reduce((sum, { elementCount }) => sum + elementCount, 0);
    return { digest: (await modelDigest(file)).toString('hex'), parameters };
  } finally {
    await file.close();
  }
}
