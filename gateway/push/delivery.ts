/** Sends a patch; if the connection breaks, resumes at the node's offset. */

import { Readable } from 'node:stream';
import { END_LENGTH, frameTypes, WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import type { ModelPatch } from '../patch/write.ts';
import type { GatewayAnswer, GatewayClient, GatewayRequest } from './gateway-client.ts';
import { isPassingStatus, Persistence, type PersistenceOptions } from './persistence.ts';
import { isConnectionError } from './transfer-error.ts';

export interface DeliveryOptions extends PersistenceOptions {
  readonly modelId: string;
  /** After a cut, `sentBytes` falls back to the node's offset. */
  readonly onProgress?: (sentBytes: number, totalBytes: number) => void;
}

/** The final answer, and the offsets at which the stream resumed after cuts. */
export interface Delivered {
  readonly answer: GatewayAnswer;
  readonly resumedAt: readonly number[];
}

/** No frame of the stream begins at the node's offset: what it has belongs to another stream. */
class NoSuchFrameError extends Error {}

/** Resolves to the node's answer, whatever its status. Rejects with the connection's error once retries are used up. */
export async function deliver(
  gateway: GatewayClient,
  patch: ModelPatch,
  options: DeliveryOptions,
): Promise<Delivered> {
  return new Delivery(gateway, patch, options).run();
}

class Delivery {
  readonly #gateway: GatewayClient;
  readonly #patch: ModelPatch;
  readonly #options: DeliveryOptions;
  readonly #path: string;
  readonly #persistence: Persistence;
  readonly #resumedAt: number[] = [];
  /** Whether the node may have part of the stream. */
  #begun = false;
  #offset = 0;

  constructor(gateway: GatewayClient, patch: ModelPatch, options: DeliveryOptions) {
    this.#gateway = gateway;
    this.#patch = patch;
    this.#options = options;
    this.#path = `/v1/models/${options.modelId}/patches/${patch.identity.streamId.toString('hex')}`;
    this.#persistence = new Persistence(options);
  }

  async run(): Promise<Delivered> {
    for (;;) {
      const outcome = await this.#try();
      if ('answer' in outcome && this.#isFinal(outcome.answer)) {
        return { answer: outcome.answer, resumedAt: this.#resumedAt };
      }
      const askedS = 'answer' in outcome ? Number(outcome.answer.headers['retry-after'] ?? 0) : 0;
      if (await this.#persistence.again(askedS || 0)) continue;
      if ('answer' in outcome) return { answer: outcome.answer, resumedAt: this.#resumedAt };
      throw outcome.broken;
    }
  }

  /** Asks how far the stream got, unless nothing was sent yet, and sends the rest. */
  async #try(): Promise<{ readonly answer: GatewayAnswer } | { readonly broken: Error }> {
    try {
      if (this.#begun) {
        const told = await this.#gateway.send('HEAD', this.#path, this.#signal());
        if (isPassingStatus(told.status)) return { answer: told };
        this.#offset = this.#reached(told);
      }
      this.#begun = true;
      return { answer: await this.#sendRest() };
    } catch (error) {
      if (error instanceof NoSuchFrameError) this.#beginAnew();
      else if (!isConnectionError(error) || this.#options.signal?.aborted) throw error;
      return { broken: error };
    }
  }

  /** Whether an answer ends the delivery. A mismatching offset or a lost upload does not refuse the patch. */
  #isFinal({ status, headers }: GatewayAnswer): boolean {
    if (isPassingStatus(status)) return false;
    if (this.#offset === 0 || (status !== 404 && status !== 409)) return true;
    if (headers['upload-offset'] === undefined) this.#beginAnew();
    return false;
  }

  #beginAnew(): void {
    this.#begun = false;
    this.#offset = 0;
  }

  /** Bytes of complete frames the node has; 0 if it has none or does not say. */
  #reached({ status, headers }: GatewayAnswer): number {
    if (status !== 204) return 0;
    const offset = Number(headers['upload-offset']);
    if (!Number.isSafeInteger(offset) || offset < 0) return 0;
    this.#persistence.reached(offset);
    // For an applied stream, END alone gets the receipt again.
    return headers['upload-complete'] === '?1' ? this.#patch.bytes - END_LENGTH : offset;
  }

  #sendRest(): Promise<GatewayAnswer> {
    const offset = this.#offset;
    const total = this.#patch.bytes;
    if (offset > 0) this.#resumedAt.push(offset);
    const frames = offset === 0 ? this.#patch.stream : rest(this.#patch.stream, offset);
    const headers = {
      'content-type': WEIGHT_PATCH_TYPE,
      'upload-complete': '?1',
      ...(offset === 0 ? { 'content-length': String(total) } : { 'upload-offset': String(offset) }),
    };
    const body = Readable.from(this.#counted(frames, offset));
    return this.#gateway.send(offset === 0 ? 'PUT' : 'PATCH', this.#path, {
      headers,
      body,
      ...this.#signal(),
    });
  }

  /** Yields the frames, and reports progress as they are consumed. */
  async *#counted(frames: AsyncIterable<Buffer>, from: number): AsyncGenerator<Buffer> {
    const { onProgress } = this.#options;
    const total = this.#patch.bytes;
    let sent = from;
    onProgress?.(sent, total);
    for await (const frame of frames) {
      yield frame;
      sent = Math.min(total, sent + frame.length);
      onProgress?.(sent, total);
    }
  }

  #signal(): GatewayRequest {
    const { signal } = this.#options;
    return signal === undefined ? {} : { signal };
  }
}

/**
 * Yields what a resuming request begins with (OPEN, and the last TENSOR frame before `offset`), then the frames from
 * `offset` on. Throws NoSuchFrameError if no frame begins there.
 */
async function* rest(stream: AsyncIterable<Buffer>, offset: number): AsyncGenerator<Buffer> {
  const prologue: { open?: Buffer; tensor?: Buffer } = {};
  let at = 0;
  for await (const frame of stream) {
    if (at === offset) yield Buffer.concat([...Object.values(prologue)]);
    else if (at < offset && at + frame.length > offset) throw new NoSuchFrameError();
    if (at >= offset) yield frame;
    else if (at === 0) prologue.open = frame;
    else if (frame.readUInt8(4) === frameTypes.indexOf('tensor')) prologue.tensor = frame;
    at += frame.length;
  }
  if (at <= offset) throw new NoSuchFrameError();
}
