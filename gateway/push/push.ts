/** The pushing client: what changed between two model files, as one patch, through a gateway to a sync node. */

import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher, request } from 'undici';
import { z } from 'zod';
import { ModelDiffError } from '../patch/diff.ts';
import { SafetensorsError } from '../patch/safetensors.ts';
import { type ModelPatch, patchModel } from '../patch/write.ts';

export interface PushOptions {
  /** `https://tenant-a.example.com:8443`; plain `http:` on networks that are trusted. */
  readonly to: string;
  /** TCP goes there, while TLS and `Host` keep the names of `to`. */
  readonly connectTo?: { readonly host: string; readonly port: number };
  readonly modelId: string;
  readonly basePath: string;
  readonly targetPath: string;
  /** Trained epochs, for the patch to say; the token may limit them. */
  readonly epoch?: number;
  readonly certPem?: string;
  readonly keyPem?: string;
  readonly caPem?: string;
  readonly token: string;
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

const HEADERS_TIMEOUT_MS = 120_000;
const BODY_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;

const metadata = z.object({
  version: z.number().int(),
  digest: z.string(),
  parameters: z.number().int(),
});
const receipt = z.object({ version: z.number().int(), changed: z.number().int(), digest: z.string() });

/** Asks what the receiver has, refuses to patch anything else, and sends the difference. Throws PushError. */
export async function pushPatch(options: PushOptions): Promise<PushResult> {
  const startedMs = performance.now();
  const gateway = new GatewayClient(options);
  try {
    const receiver = metadata.parse(await gateway.get(`/v1/models/${options.modelId}`));
    const patch = await preparePatch(options, receiver.version);
    try {
      requireBase(patch, receiver.digest, options.basePath);
      const { status, body } = await gateway.put(patch, options);
      const { version, changed, digest } = receipt.parse(body);
      const durationMs = performance.now() - startedMs;
      const { parameters } = receiver;
      const { size: modelBytes } = await stat(options.targetPath);
      return {
        status,
        version,
        changed,
        digest,
        parameters,
        bytesSent: patch.bytes,
        modelBytes,
        durationMs,
      };
    } finally {
      await patch.close();
    }
  } catch (error) {
    throw translated(error);
  } finally {
    await gateway.close();
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

function translated(error: unknown): unknown {
  if (error instanceof PushError) return error;
  if (error instanceof SafetensorsError || error instanceof ModelDiffError)
    return new PushError(error.message);
  if (error instanceof z.ZodError) return new PushError('the answer is not that of a sync node');
  if (error instanceof Error && ('code' in error || error.name === 'AbortError')) {
    return new PushError(
      `the gateway cannot be reached: ${error.message || ('code' in error ? error.code : '')}`,
    );
  }
  return error;
}

/** One connection to the gateway with the caller's certificate and token. */
class GatewayClient {
  readonly #origin: string;
  readonly #host: string;
  readonly #token: string;
  readonly #agent: Agent;

  constructor(options: PushOptions) {
    const to = readAddress(options.to);
    const { connectTo, certPem, keyPem, caPem } = options;
    const target =
      connectTo === undefined
        ? to
        : new URL(`${to.protocol}//${bracketed(connectTo.host)}:${connectTo.port}`);
    this.#origin = target.origin;
    this.#host = to.host;
    this.#token = options.token;
    this.#agent = new Agent({
      allowH2: false,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: BODY_TIMEOUT_MS,
      connect: {
        timeout: CONNECT_TIMEOUT_MS,
        servername: to.hostname,
        ...(certPem !== undefined && { cert: certPem }),
        ...(keyPem !== undefined && { key: keyPem }),
        ...(caPem !== undefined && { ca: caPem }),
      },
    });
  }

  async get(path: string): Promise<unknown> {
    return (await this.#send(path, { method: 'GET' })).body;
  }

  put(patch: ModelPatch, options: PushOptions): Promise<{ readonly status: number; readonly body: unknown }> {
    const path = `/v1/models/${options.modelId}/patches/${patch.identity.streamId.toString('hex')}`;
    const headers = {
      'content-type': 'application/vnd.patchgate.weight-patch',
      'content-length': String(patch.bytes),
    };
    const body = Readable.from(counted(patch, options.onProgress));
    return this.#send(path, {
      method: 'PUT',
      headers,
      body,
      ...(options.signal && { signal: options.signal }),
    });
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #send(path: string, more: Omit<Dispatcher.RequestOptions, 'path' | 'origin'>) {
    const response = await request(`${this.#origin}${path}`, {
      ...more,
      dispatcher: this.#agent,
      headers: {
        ...(more.headers as Record<string, string>),
        host: this.#host,
        authorization: `Bearer ${this.#token}`,
      },
    });
    const text = await response.body.text();
    const body = parseJson(text);
    if (response.statusCode < 300) return { status: response.statusCode, body };
    throw new PushError(refusalMessage(response.statusCode, body), response.statusCode, body);
  }
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

function readAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw new PushError(`${text} is no https address`);
  return url;
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

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
