/** The pushing client: what changed between two model files, as one patch, through a gateway to a sync node. */

import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { ModelDiffError } from '../patch/diff.ts';
import { weightPatchType } from '../patch/layout.ts';
import { SafetensorsError } from '../patch/safetensors.ts';
import { type ModelPatch, PatchWriteError, patchModel } from '../patch/write.ts';
import {
  type GatewayAddress,
  GatewayAddressError,
  type GatewayAnswer,
  GatewayClient,
} from './gateway-client.ts';

export interface PushOptions extends GatewayAddress {
  readonly modelId: string;
  readonly basePath: string;
  readonly targetPath: string;
  /** Trained epochs, for the patch to say; the token may limit them. */
  readonly epoch?: number;
  readonly onProgress?: (sentBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface PushResult {
  /** 201, or 200 when the node had this very patch already. */
  readonly status: number;
  readonly version: number;
  /** Weights changed. */
  readonly changed: number;
  /** Weights of the model. */
  readonly parameters: number;
  readonly bytesSent: number;
  /** Bytes of the target file: what sending the whole model would have cost. */
  readonly modelBytes: number;
  /** Of the model after the patch, hexadecimal. */
  readonly digest: string;
  readonly durationMs: number;
}

/** A push that did not come to its end; the message is for people. */
export class PushError extends Error {
  override readonly name = 'PushError';
  readonly status: number | undefined;
  /** The body of the refusal, where it was problem details. */
  readonly problem: unknown;

  constructor(message: string, status?: number, problem?: unknown) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

const metadata = z.object({
  version: z.number().int(),
  digest: z.string(),
  parameters: z.number().int(),
});
const receipt = z.object({ version: z.number().int(), changed: z.number().int(), digest: z.string() });

/** Asks what the receiver has, refuses to patch anything else, and sends the difference. Throws PushError. */
export async function pushPatch(options: PushOptions): Promise<PushResult> {
  try {
    const gateway = new GatewayClient(options);
    return await pushThrough(gateway, options).finally(() => gateway.close());
  } catch (error) {
    if (options.signal?.aborted) throw new PushError('the push was stopped');
    throw translated(error);
  }
}

async function pushThrough(gateway: GatewayClient, options: PushOptions): Promise<PushResult> {
  const startedMs = performance.now();
  const model = await gateway.send('GET', `/v1/models/${options.modelId}`, {
    ...(options.signal && { signal: options.signal }),
  });
  const receiver = metadata.parse(accepted(model).body);
  const patch = await preparePatch(options, receiver.version);
  try {
    requireBase(patch, receiver.digest, options.basePath);
    const { status, body } = accepted(await sendPatch(gateway, patch, options));
    return {
      status,
      ...receipt.parse(body),
      parameters: receiver.parameters,
      bytesSent: patch.bytes,
      modelBytes: (await stat(options.targetPath)).size,
      durationMs: performance.now() - startedMs,
    };
  } finally {
    await patch.close();
  }
}

function preparePatch({ basePath, targetPath, modelId, epoch = 0 }: PushOptions, version: number) {
  return patchModel(basePath, targetPath, {
    modelId,
    baseVersion: version,
    targetVersion: version + 1,
    epoch,
  });
}

/** A patch against anything but what the receiver has would drift, or be refused after all was sent. */
function requireBase(patch: ModelPatch, digest: string, basePath: string): void {
  const own = patch.identity.baseDigest.toString('hex');
  if (own !== digest) {
    throw new PushError(
      `${basePath} is not what the receiver has: its digest is ${own}, the receiver's ${digest}`,
    );
  }
}

function sendPatch(gateway: GatewayClient, patch: ModelPatch, options: PushOptions): Promise<GatewayAnswer> {
  const streamId = patch.identity.streamId.toString('hex');
  return gateway.send('PUT', `/v1/models/${options.modelId}/patches/${streamId}`, {
    headers: { 'content-type': weightPatchType, 'content-length': String(patch.bytes) },
    body: Readable.from(counted(patch, options.onProgress)),
    ...(options.signal && { signal: options.signal }),
  });
}

/** An answer as JSON, unless it is a refusal. */
function accepted({ status, body }: GatewayAnswer): { readonly status: number; readonly body: unknown } {
  const value = parseJson(body.toString());
  if (status < 300) return { status, body: value };
  throw new PushError(refusalMessage(status, value), status, value);
}

function translated(error: unknown): unknown {
  if (error instanceof PushError) return error;
  if (error instanceof SafetensorsError || error instanceof ModelDiffError) {
    return new PushError(error.message);
  }
  if (error instanceof PatchWriteError) {
    return new PushError(`a model file changed while it was sent: ${error.message}`);
  }
  if (error instanceof GatewayAddressError) return new PushError(error.message);
  if (error instanceof z.ZodError) return new PushError('the answer is not that of a sync node');
  if (error instanceof Error && 'code' in error) {
    return new PushError(
      `the gateway cannot be reached: ${error.message || ('code' in error ? error.code : '')}`,
    );
  }
  return error;
}

/** The frames, with the bytes told as they are asked for. */
async function* counted(patch: ModelPatch, onProgress: PushOptions['onProgress']): AsyncGenerator<Buffer> {
  let sent = 0;
  onProgress?.(0, patch.bytes);
  for await (const frame of patch.stream) {
    yield frame;
    sent += frame.length;
    onProgress?.(sent, patch.bytes);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const refusal = z.object({ detail: z.string(), code: z.string().optional(), fault: z.string().optional() });

function refusalMessage(status: number, body: unknown): string {
  const { success, data } = refusal.safeParse(body);
  if (!success) return `refused with ${status}`;
  const code = data.fault ?? data.code;
  return `refused with ${status}${code === undefined ? '' : ` ${code}`}: ${data.detail}`;
}
