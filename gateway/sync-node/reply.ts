/** Answers of the sync node: JSON, problem details (RFC 9457), or a part of a file. */

import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';

export interface Reply {
  readonly status: number;
  readonly fields?: Readonly<Record<string, string>>;
  readonly body: Buffer | FilePart;
}

/** Bytes `from` up to, not including, `to` of an open file, which stays readable even if its name is removed. */
export interface FilePart {
  readonly file: FileHandle;
  readonly from: number;
  readonly to: number;
}

/** How long a caller that is refused while it sends may read the answer; what it still sends is dropped. */
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

/** Sends a reply, unless the connection is gone; closes the file of its body. */
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
  // Closing with bytes unread would reset the connection, and the caller would lose the answer.
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
  // If the file cannot be read to its end, the answer breaks off: its head is sent, so no error can be reported.
  pipeline(file.createReadStream({ start: from, end: to - 1 }), response, () => undefined);
}
