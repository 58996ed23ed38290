/** Answers of the sync node: JSON, problem details (RFC 9457), or a part of a file. */

import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';

export interface Reply {
  readonly status: number;
  readonly fields?: Readonly<Record<string, string>>;
  readonly body: Buffer | FilePart;
}

/** Bytes `from` up to, not including, `to` of an open file, which stays whole even when its name is gone. */
export interface FilePart {
  readonly file: FileHandle;
  readonly from: number;
  readonly to: number;
}

/** A caller that is refused while it sends may finish reading the answer; so long what it sends on is dropped. */
const LINGER_MS = 1000;

export function json(status: number, value: object, fields: Readonly<Record<string, string>> = {}): Reply {
  return {
    status,
    fields: { 'Content-Type': 'application/json', ...fields },
    body: Buffer.from(`${JSON.stringify(value)}\n`),
  };
}

/** Problem details; `more` are members beside the usual ones, `fields` header fields. */
export function problem(
  status: number,
  detail: string,
  more: Readonly<Record<string, string | number>> = {},
  fields: Readonly<Record<string, string>> = {},
): Reply {
  const body = Buffer.from(
    `${JSON.stringify({ title: 'The sync node refused', status, detail, ...more })}\n`,
  );
  return { status, fields: { 'Content-Type': 'application/problem+json', ...fields }, body };
}

export function empty(status: number, fields: Readonly<Record<string, string>>): Reply {
  return { status, fields, body: Buffer.alloc(0) };
}

/** Sends a reply, if there is still somebody to hear it. */
export function send(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  const { body } = reply;
  if (response.destroyed) {
    if (!Buffer.isBuffer(body)) void body.file.close();
    return;
  }
  const length = Buffer.isBuffer(body) ? body.length : body.to - body.from;
  const fields: Record<string, string | number> = { ...reply.fields };
  // RFC 9110 §8.6: an answer of status 204 has no Content-Length.
  if (reply.status !== 204) fields['Content-Length'] = length;
  if (!request.complete) fields['Connection'] = 'close';
  response.writeHead(reply.status, fields);
  if (Buffer.isBuffer(body)) sendBytes(request, response, body);
  else sendPart(request, response, body);
}

function sendBytes(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  if (request.method !== 'HEAD' && body.length > 0) response.write(body);
  if (request.complete) {
    response.end();
    return;
  }
  // Closed with bytes unread, the connection would be reset, and the answer with it.
  const timer = setTimeout(() => response.end(), LINGER_MS);
  request.resume();
  request.once('end', () => response.end());
  response.once('close', () => clearTimeout(timer));
}

function sendPart({ method }: IncomingMessage, response: ServerResponse, { file, from, to }: FilePart): void {
  if (method === 'HEAD' || from === to) {
    response.end();
    void file.close();
    return;
  }
  // A file that cannot be read to its end breaks the answer off, which is all that is left to say.
  pipeline(file.createReadStream({ start: from, end: to - 1 }), response, () => undefined);
}
