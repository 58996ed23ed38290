/** A caller that uploads patches through a gateway: at once, in part, and resuming where it was cut. */

import type { TLSSocket } from 'node:tls';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { prologueAt } from '../sync-node/set-node.ts';
import { type MadePatch, MODEL } from '../sync-node/training.ts';
import { exchange, HOST, isWhole, type Stage } from './stage.ts';

export const ROUTES = `  - name: push
    match: { methods: [PUT, PATCH, HEAD], path: '/v1/models/{model_id}/patches/{stream_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, maxBytes: 1MiB, check: deep }
    upstream: sync
  - name: weights
    match: { methods: [GET, HEAD], path: '/v1/models/{model_id}/**' }
    require: { scope: read }
    upstream: sync
`;

/** A patch, and its model if that is not MODEL. */
export interface Upload extends MadePatch {
  readonly model?: string;
}

export interface Request {
  readonly method: string;
  readonly fields?: string;
  readonly body?: Buffer;
  /** Replaces that of the body. */
  readonly length?: number;
  readonly claims?: Readonly<Record<string, unknown>>;
}

async function headOf(
  stage: Stage,
  { streamId, model = MODEL }: Upload,
  { method, fields = '', body, length, claims }: Request,
) {
  const token = await stage.token({ model_id: model, ...claims });
  const framing =
    body === undefined
      ? ''
      : `Content-Length: ${length ?? body.length}\r\nContent-Type: ${WEIGHT_PATCH_TYPE}\r\n`;
  return (
    `${method} /v1/models/${model}/patches/${streamId} HTTP/1.1\r\nHost: ${HOST}\r\n` +
    `Authorization: Bearer ${token}\r\n${framing}${fields}\r\n`
  );
}

/** Sends one request and returns the whole answer. */
export async function send(stage: Stage, upload: Upload, request: Request): Promise<string> {
  const socket = await stage.connect();
  const bytes = Buffer.concat([
    Buffer.from(await headOf(stage, upload, request)),
    request.body ?? Buffer.alloc(0),
  ]);
  const answer = await exchange(socket, bytes, (text) =>
    request.method === 'HEAD' ? text.includes('\r\n\r\n') : isWhole(text),
  );
  socket.destroy();
  return answer;
}

/** Sends the first bytes of a stream and waits; destroying the socket makes the caller leave. */
export async function sendUntil(stage: Stage, upload: Upload, cut: number): Promise<TLSSocket> {
  const socket = await stage.connect();
  const head = await headOf(stage, upload, { method: 'PUT', body: upload.bytes });
  socket.write(Buffer.concat([Buffer.from(head), upload.bytes.subarray(0, cut)]));
  return socket;
}

/** Where the gateway says the upload resumes; NaN if it does not say. */
export async function offsetAt(stage: Stage, upload: Upload): Promise<number> {
  const answer = await send(stage, upload, { method: 'HEAD' });
  return Number(/\r\nupload-offset: (\d+)\r\n/i.exec(answer)?.[1] ?? Number.NaN);
}

/** The request that resumes at an offset. */
export function restOf({ bytes }: MadePatch, offset: number): Request {
  const body = Buffer.concat([prologueAt(bytes, offset), bytes.subarray(offset)]);
  return { method: 'PATCH', fields: `Upload-Offset: ${offset}\r\nUpload-Complete: ?1\r\n`, body };
}
