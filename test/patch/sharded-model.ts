/** A model in several files, as a trainer saves it. */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { INDEX_NAME } from '../../gateway/patch/shards.ts';
import type { RandomTensor } from './random-model.ts';

/** Writes tensors to the shards that `shardOf` names, and their index. */
export async function writeShards(
  folder: string,
  tensors: readonly RandomTensor[],
  shardOf: (tensor: RandomTensor) => number,
): Promise<string> {
  await mkdir(folder);
  const fileOf = (shard: number) => `model-0000${shard}-of-00003.safetensors`;
  for (const shard of new Set(tensors.map(shardOf))) {
    const own = tensors.filter((tensor) => shardOf(tensor) === shard);
    await writeSafetensors(join(folder, fileOf(shard)), own, { format: 'pt' });
  }
  const placed = Object.fromEntries(tensors.map((tensor) => [tensor.name, fileOf(shardOf(tensor))]));
  const index = JSON.stringify({ metadata: { total_size: 1 }, weight_map: placed }, undefined, 2);
  await writeFile(join(folder, INDEX_NAME), index);
  return folder;
}
