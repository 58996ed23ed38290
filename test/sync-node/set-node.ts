/** A sync node with one small model, what it says about it, and senders that leave half-way. */

import { stat } from 'node:fs/promises';
import type { ClientRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { createModel } from '../../gateway/sync-node/create-model.ts';
import { type SyncNodeOptions, startSyncNode } from '../../gateway/sync-node/sync-node.ts';
import { newFolder } from '../new-folder.ts';
import type { TensorPlan } from '../patch/random-model.ts';
import { ask, begin, patchPath } from './asking.ts';
import { type MadePatch, MODEL, Training } from './training.ts';

export const plans: readonly TensorPlan[] = [
  ['embedding', 'F32', [40, 25]],
  ['layer.0.w', 'BF16', [300]],
  ['steps', 'I64', []],
];
export const parameters = 1301;
export const patchHeaders = { 'content-type': WEIGHT_PATCH_TYPE };

/** A node with one model at version 0. */
export async function setNode(t: Test, seed = 60, options: Partial<SyncNodeOptions> = {}) {
  const folder = await newFolder(t);
  const training = await Training.begin(folder, seed, plans);
  const root = join(folder, 'models');
  await createModel(root, MODEL, training.pathOf(0));
  const node = await startSyncNode({ root, ...options });
  t.teardown(() => node.close());
  return { folder, root, training, node, url: node.url };
}

/** The version of the model according to the node. */
export async function versionAt(url: string): Promise<unknown> {
  return (await ask(url, 'GET', `/v1/models/${MODEL}`)).json['version'];
}

/** Where a node stores a stream that is being uploaded. */
export function uploadPath(root: string, streamId: string, modelId = MODEL): string {
  return join(root, modelId, 'uploads', streamId);
}

/** Waits until so many bytes of whole frames are stored. */
export async function gathered(root: string, streamId: string, bytes: number): Promise<void> {
  for (;;) {
    const { size } = await stat(uploadPath(root, streamId)).catch(() => ({ size: -1 }));
    if (size >= bytes) return;
    await delay(2);
  }
}

/** Sends the first bytes of a stream and leaves once the whole frames among them are stored. */
export async function sendPart(
  { url, root }: { readonly url: string; readonly root: string },
  patch: MadePatch,
  cut: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const sent = begin(url, 'PUT', patchPath(patch.streamId), {
    ...patchHeaders,
    'content-length': String(patch.bytes.length),
    ...headers,
  });
  sent.on('error', () => undefined);
  sent.write(patch.bytes.subarray(0, cut));
  await gathered(root, patch.streamId, wholeFrames(patch.bytes, cut));
  await goneAway(sent);
}

/** Breaks a request off. */
export async function goneAway(sent: ClientRequest): Promise<void> {
  const closed = new Promise((resolve) => sent.once('close', resolve));
  sent.destroy();
  await closed;
}

/** Where each frame of a stream begins. */
export function frameStarts(stream: Buffer): number[] {
  const starts: number[] = [];
  for (let at = 0; at < stream.length; at += stream.readUInt16LE(at + 6) + stream.readUInt32LE(at + 8)) {
    starts.push(at);
  }
  return starts;
}

/** Bytes of the frames that end before `cut`, never counting END. */
export function wholeFrames(stream: Buffer, cut: number): number {
  return frameStarts(stream).findLast((start) => start <= cut) ?? 0;
}

/** The beginning of a request that resumes at `offset` above 0: OPEN, and the last TENSOR frame before. */
export function prologueAt(stream: Buffer, offset: number): Buffer {
  if (offset === 0) return Buffer.alloc(0);
  const headerAt = (start: number): Buffer => stream.subarray(start, start + stream.readUInt16LE(start + 6));
  const tensor = frameStarts(stream).findLast((start) => start < offset && stream[start + 4] === 2);
  return Buffer.concat([headerAt(0), ...(tensor === undefined ? [] : [headerAt(tensor)])]);
}
