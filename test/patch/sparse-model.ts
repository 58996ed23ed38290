/**
 * A model that is nearly all holes, its patch and the result: large on paper, small on disk. Run with a folder and a
 * number of bytes it prints what that took, so that it can be measured in its own process.
 */

import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { applyPatch } from '../../gateway/patch/apply.ts';
import { readPatch } from '../../gateway/patch/read.ts';
import { openSafetensors } from '../../gateway/patch/safetensors.ts';
import { patchModel } from '../../gateway/patch/write.ts';

export interface SparseRun {
  readonly modelBytes: number;
  /** Space of the patched model on disk. */
  readonly storedBytes: number;
  readonly patchBytes: number;
  readonly changed: number;
  readonly isTarget: boolean;
  readonly peakResidentBytes: number;
  readonly seconds: number;
}

const identity = { modelId: 'sparse', baseVersion: 0, targetVersion: 1, epoch: 1 };
const elementBytes = 4;
/** Changed elements, spread over the whole. */
const changes = 1000;

/** A file of one float32 tensor with one element set every so many bytes; the rest are holes. */
async function writeSparse(path: string, bytes: number, value: number): Promise<void> {
  const elements = Math.floor(bytes / elementBytes);
  const offsets = [0, elements * elementBytes];
  const json = JSON.stringify({ w: { dtype: 'F32', shape: [elements], data_offsets: offsets } });
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  header.write(json, 8);
  const file = await open(path, 'wx');
  await file.write(header);
  await file.truncate(header.length + elements * elementBytes);
  const element = Buffer.alloc(elementBytes);
  element.writeFloatLE(value);
  for (let k = 0; k < changes; k++) {
    const index = Math.floor((k * (elements - 1)) / (changes - 1));
    await file.write(element, 0, elementBytes, header.length + index * elementBytes);
  }
  await file.close();
}

/** Makes base and target, the patch between them, and the patched model. */
export async function patchSparse(folder: string, bytes: number): Promise<SparseRun> {
  const path = (name: string) => join(folder, name);
  await writeSparse(path('base'), bytes, 1);
  await writeSparse(path('target'), bytes, 2);
  const began = performance.now();
  const patch = await patchModel(path('base'), path('target'), identity);
  const file = await open(path('patch'), 'wx');
  await pipeline(patch.stream, file.createWriteStream());
  await patch.close();
  const base = await openSafetensors(path('base'));
  const { baseDigest } = patch.identity;
  const frames = readPatch(createReadStream(path('patch')));
  const applied = await applyPatch(base, frames, path('made'), { ...identity, baseDigest });
  await base.close();
  return {
    modelBytes: (await stat(path('made'))).size,
    storedBytes: (await stat(path('made'))).blocks * 512,
    patchBytes: patch.bytes,
    changed: applied.changed,
    isTarget: applied.digest.equals(patch.identity.targetDigest),
    peakResidentBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - began) / 1000,
  };
}

if (import.meta.main) {
  const [, , folder = '', bytes = ''] = process.argv;
  process.stdout.write(`${JSON.stringify(await patchSparse(folder, Number(bytes)))}\n`);
}
