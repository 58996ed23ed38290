/** The push client: sends what changed between two models as one patch, through a gateway to a sync node. */

import { z } from 'zod';
import type { ValueEncoding } from '../patch/layout.ts';
import { type ModelPatch, type ModelPatchOptions, patchModel } from '../patch/write.ts';
import { type Delivered, type DeliveryOptions, deliver } from './delivery.ts';
import { type GatewayAddress, GatewayClient } from './gateway-client.ts';
import { fetchDescription, type ModelDescription } from './model-description.ts';
import { pullThrough } from './pull.ts';
import { Shadow } from './shadow.ts';
import { accepted, hasNow, TransferError, translated } from './transfer-error.ts';

export interface PushOptions extends GatewayAddress, DeliveryOptions {
  /** The model to push, as `openModel` takes it: a file, an index, or a folder. */
  readonly targetPath: string;
  /** A model that is exactly what the receiver has. With `shadowPath`: what a new shadow begins with. */
  readonly basePath?: string;
  /** The file that keeps what the receiver has from push to push; pulled if neither it nor a base exists. */
  readonly shadowPath?: string;
  /** Changes up to this size to what the receiver has are not sent. 0, the default, is exact. Needs a shadow. */
  readonly threshold?: number;
  /** An encoding with fewer bits for the values; exact if absent. Needs a shadow. */
  readonly values?: ValueEncoding;
  /** Puts this change on top of what others pushed in the meantime. Needs a shadow, which then holds both. */
  readonly rebase?: boolean;
  /** Trained epochs, as OPEN announces them; the token may limit them. */
  readonly epoch?: number;
}

/** What a push would send. */
export interface PushPlan {
  readonly streamId: string;
  readonly baseVersion: number;
  readonly targetVersion: number;
  /** Weights changed. */
  readonly changed: number;
  /** Weights of the model. */
  readonly parameters: number;
  /** Tensors with a change in them. */
  readonly tensors: number;
  /** Bytes of the whole stream. */
  readonly bytes: number;
  /** Bytes of the model's files: what sending it whole would cost. */
  readonly modelBytes: number;
}

export interface PushResult {
  /** 201, or 200 if the node had applied this patch before. */
  readonly status: number;
  readonly version: number;
  /** Weights changed. */
  readonly changed: number;
  /** Weights of the model. */
  readonly parameters: number;
  readonly bytesSent: number;
  /** Bytes of the model's files: what sending it whole would have cost. */
  readonly modelBytes: number;
  /** The digest of the model after the patch, hexadecimal. */
  readonly digest: string;
  readonly durationMs: number;
  /** The stream offsets at which it resumed after cuts. */
  readonly resumedAt: readonly number[];
  /** Whether others had pushed in the meantime, and this change was put on top. */
  readonly rebased: boolean;
}

const receipt = z.object({ version: z.number().int(), changed: z.number().int(), digest: z.string() });

/** The most retries of a push refused for a stale base: others may push again during each rebase. */
const REBASES = 5;

/** Asks what the receiver has, refuses to patch anything else, and sends the difference. Throws TransferError. */
export function pushPatch(options: PushOptions): Promise<PushResult> {
  return withGateway(options, (gateway) => pushThrough(gateway, options));
}

/** Prepares what `pushPatch` would send, without sending it. Throws TransferError. */
export function planPush(options: PushOptions): Promise<PushPlan> {
  return withGateway(options, async (gateway) => {
    const receiver = await fetchDescription(gateway, options.modelId, options);
    const { patch } = await prepare(gateway, options, receiver);
    await patch.close();
    if (options.shadowPath !== undefined) await new Shadow(options.shadowPath).drop();
    const { streamId, baseVersion, targetVersion, tensorCount, totalParams } = patch.identity;
    return {
      streamId: streamId.toString('hex'),
      baseVersion,
      targetVersion,
      changed: patch.changed,
      parameters: totalParams,
      tensors: tensorCount,
      bytes: patch.bytes,
      modelBytes: patch.modelBytes,
    };
  });
}

async function withGateway<T>(
  options: PushOptions,
  work: (gateway: GatewayClient) => Promise<T>,
): Promise<T> {
  try {
    const gateway = new GatewayClient(options);
    return await work(gateway).finally(() => gateway.close());
  } catch (error) {
    if (options.signal?.aborted) throw new TransferError('the push was stopped');
    throw translated(error);
  }
}

async function pushThrough(gateway: GatewayClient, options: PushOptions): Promise<PushResult> {
  const startedMs = performance.now();
  for (let round = 0; ; round++) {
    const receiver = await fetchDescription(gateway, options.modelId, options);
    const { patch, rebased } = await prepare(gateway, options, receiver);
    const delivered = await deliver(gateway, patch, options).finally(() => patch.close());
    if (options.rebase && round < REBASES && isOvertaken(delivered)) continue;
    const { status, body } = accepted(delivered.answer);
    const made = receipt.parse(body);
    if (options.shadowPath !== undefined) await new Shadow(options.shadowPath).advance();
    return {
      status,
      ...made,
      parameters: receiver.parameters,
      bytesSent: patch.bytes,
      modelBytes: patch.modelBytes,
      durationMs: performance.now() - startedMs,
      resumedAt: delivered.resumedAt,
      rebased,
    };
  }
}

/** Whether somebody else's push came first. */
function isOvertaken({ answer }: Delivered): boolean {
  return answer.status === 409 && /"fault":"base"/.test(answer.body.toString());
}

interface Prepared {
  readonly patch: ModelPatch;
  readonly rebased: boolean;
}

/** Prepares the patch from what the receiver has now. */
async function prepare(
  gateway: GatewayClient,
  options: PushOptions,
  receiver: ModelDescription,
): Promise<Prepared> {
  const { shadowPath, modelId, epoch = 0 } = options;
  const { version } = receiver;
  const identity = { modelId, baseVersion: version, targetVersion: version + 1, epoch };
  return shadowPath === undefined
    ? fromBase(options, identity, receiver)
    : fromShadow(gateway, { ...options, shadowPath }, identity, receiver);
}

/** The exact patch from a base, which must be what the receiver has. */
async function fromBase(
  { basePath, targetPath, threshold = 0, values, rebase }: PushOptions,
  identity: ModelPatchOptions,
  receiver: ModelDescription,
): Promise<Prepared> {
  if (basePath === undefined) throw new TransferError('a base or a shadow is required');
  if (threshold > 0 || values !== undefined || rebase) {
    throw new TransferError('threshold, values and rebase require a shadow');
  }
  return { patch: await exactPatch(basePath, targetPath, identity, receiver), rebased: false };
}

type ShadowOptions = PushOptions & { readonly shadowPath: string };

async function fromShadow(
  gateway: GatewayClient,
  options: ShadowOptions,
  identity: ModelPatchOptions,
  { version, digest }: ModelDescription,
): Promise<Prepared> {
  const { shadowPath, targetPath, threshold = 0, values } = options;
  const shadow = new Shadow(shadowPath);
  const precision = { threshold, values };
  let state = await shadow.state(digest);
  if (state === 'none') {
    await beginShadow(gateway, options, shadow);
    state = await shadow.state(digest);
  }
  if (state === 'same') {
    return { patch: await shadow.patchTo(targetPath, precision, identity), rebased: false };
  }
  if (!options.rebase)
    throw new TransferError(`${shadowPath} is not what the receiver has${hasNow(version, digest)}`);
  const received = await pullThrough(gateway, {
    ...quiet(options),
    outPath: shadow.receivedPath,
    basePath: shadowPath,
  });
  const onTop = { ...identity, baseVersion: received.version, targetVersion: received.version + 1 };
  return { patch: await shadow.rebasedTo(targetPath, precision, onTop), rebased: true };
}

/** Creates the shadow from the given base, or else from what the receiver has. */
async function beginShadow(gateway: GatewayClient, options: ShadowOptions, shadow: Shadow): Promise<void> {
  const { basePath, shadowPath } = options;
  if (basePath === undefined) await pullThrough(gateway, { ...quiet(options), outPath: shadowPath });
  else await shadow.begin(basePath);
}

/** Options for a pull within a push: progress reports only what is sent. */
function quiet({ onProgress: _, ...options }: PushOptions): Omit<PushOptions, 'onProgress'> {
  return options;
}

/** Refuses any base but what the receiver has: the patch would drift, or be refused after everything was sent. */
async function exactPatch(
  basePath: string,
  targetPath: string,
  identity: ModelPatchOptions,
  { version, digest }: ModelDescription,
): Promise<ModelPatch> {
  const patch = await patchModel(basePath, targetPath, identity);
  const own = patch.identity.baseDigest.toString('hex');
  if (own === digest) return patch;
  await patch.close();
  throw new TransferError(
    `${basePath} is not what the receiver has: its digest is ${own}, the receiver's ${digest}${hasNow(version, digest)}`,
  );
}
