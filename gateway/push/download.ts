/** Downloads a file; after a cut, only the missing bytes (`Range`, RFC 9110 §14; `If-Range`, §13.1.5). */

import { type FileHandle, open } from 'node:fs/promises';
import type { GatewayClient, GatewayStream } from './gateway-client.ts';
import { isPassingStatus, Persistence, type PersistenceOptions } from './persistence.ts';
import { accepted, isConnectionError, TransferError } from './transfer-error.ts';

export interface DownloadOptions extends PersistenceOptions {
  readonly onProgress?: (receivedBytes: number, totalBytes: number) => void;
}

export interface Downloaded {
  /** Bytes received in this run. */
  readonly received: number;
  /** The offsets at which it resumed, after cuts or an earlier run. */
  readonly resumedAt: readonly number[];
}

/**
 * Downloads `path` to `partPath`, resumes after what that holds already, and syncs it. `etag` identifies the content
 * that `partPath` is a part of. Throws TransferError for a refusal, the connection's error once the retries are used
 * up, and file errors.
 */
export async function download(
  gateway: GatewayClient,
  path: string,
  partPath: string,
  etag: string,
  options: DownloadOptions,
): Promise<Downloaded> {
  const file = await open(partPath, 'a');
  try {
    const done = await new ResumedDownload(gateway, path, file, etag, options).run();
    await file.sync();
    return done;
  } finally {
    await file.close();
  }
}

class ResumedDownload {
  readonly #gateway: GatewayClient;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #etag: string;
  readonly #options: DownloadOptions;
  readonly #persistence: Persistence;
  readonly #resumedAt: number[] = [];
  #received = 0;

  constructor(
    gateway: GatewayClient,
    path: string,
    file: FileHandle,
    etag: string,
    options: DownloadOptions,
  ) {
    this.#gateway = gateway;
    this.#path = path;
    this.#file = file;
    this.#etag = etag;
    this.#options = options;
    this.#persistence = new Persistence(options);
  }

  async run(): Promise<Downloaded> {
    for (;;) {
      const { broken, askedS } = await this.#try();
      if (broken === undefined) return { received: this.#received, resumedAt: this.#resumedAt };
      this.#persistence.reached(this.#received);
      if (!(await this.#persistence.again(askedS))) throw broken;
    }
  }

  async #try(): Promise<{ readonly broken?: unknown; readonly askedS?: number }> {
    const { signal } = this.#options;
    try {
      const { size } = await this.#file.stat();
      const headers = size === 0 ? {} : { range: `bytes=${size}-`, 'if-range': this.#etag };
      const answer = await this.#gateway.stream('GET', this.#path, { headers, ...(signal && { signal }) });
      if (isPassingStatus(answer.status)) {
        return { broken: await refusalOf(answer), askedS: Number(answer.headers['retry-after'] ?? 0) || 0 };
      }
      await this.#take(answer, size);
      return {};
    } catch (error) {
      if (!isConnectionError(error) || signal?.aborted) throw error;
      return { broken: error };
    }
  }

  async #take(answer: GatewayStream, size: number): Promise<void> {
    // Nothing is missing after the last byte. The caller verifies the digest anyway.
    if (answer.status === 416) {
      await refusalOf(answer);
      return;
    }
    if (answer.status !== 200 && answer.status !== 206) throw await refusalOf(answer);
    let at = answer.status === 206 ? size : 0;
    if (at === 0) await this.#file.truncate(0);
    else this.#resumedAt.push(at);
    const total = at + Number(answer.headers['content-length'] ?? Number.NaN);
    for await (const chunk of answer.body) {
      await this.#file.appendFile(chunk);
      at += chunk.length;
      this.#received += chunk.length;
      this.#options.onProgress?.(at, total);
    }
  }
}

/** The error for a refusal, with what its body says. */
async function refusalOf({ status, headers, body }: GatewayStream): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  try {
    accepted({ status, headers, body: Buffer.concat(parts) });
  } catch (error) {
    return error;
  }
  return new TransferError(`unexpected status ${status}`, status);
}
