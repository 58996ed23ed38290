/** Plain HTTP requests whose paths are sent as they are written. */

import { once } from 'node:events';
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { WEIGHT_PATCH_TYPE } from '../../gateway/patch/layout.ts';
import { type MadePatch, MODEL } from './training.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as JSON, if it is JSON. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface Question {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/** Sends a request on its own connection; rejects if no whole answer comes. */
export async function ask(url: string, method: string, path: string, more: Question = {}): Promise<Answer> {
  const length = more.body === undefined ? {} : { 'content-length': String(more.body.length) };
  const sent = begin(url, method, path, { ...length, ...more.headers });
  sent.end(more.body);
  return answerOf(sent);
}

/** Begins a request whose body is still to be written. */
export function begin(
  url: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): ClientRequest {
  const { hostname, port } = new URL(url);
  return request({ host: hostname, port, method, path, headers, agent: false });
}

export async function answerOf(sent: ClientRequest): Promise<Answer> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  const body = Buffer.concat(parts);
  const isJson = /json$/.test(response.headers['content-type'] ?? '') && body.length > 0;
  const json = isJson ? JSON.parse(body.toString()) : {};
  return { status: response.statusCode ?? 0, headers: response.headers, body, json };
}

/** The path of a stream at a node. */
export function patchPath(streamId: string, modelId = MODEL): string {
  return `/v1/models/${modelId}/patches/${streamId}`;
}

/** Pushes a patch in the regular way. */
export function put(url: string, patch: MadePatch, modelId = MODEL): Promise<Answer> {
  const headers = { 'content-type': WEIGHT_PATCH_TYPE };
  return ask(url, 'PUT', patchPath(patch.streamId, modelId), { headers, body: patch.bytes });
}
