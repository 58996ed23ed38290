/** Answers of the sync node: JSON, problem details (RFC 9457), or a file. */

import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';

export interface Reply {
  readonly status: number;
  readonly fields?: Readonly<Record<string, string>>;
  readonly body: Buffer | FilePart;
}

/** Bytes `from` up to, not including, `to`. */
export interface FilePart {
  readonly path: string;
  readonly from: number;
  readonly to: number;
}

export function json(status: number, value: object): Reply {
  return {
    status,
    fields: { 'Content-Type': 'application/json' },
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

/** Sends a reply; after a body that was not read the connection cannot be used again. */
export function send(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  const { body } = reply;
  const length = Buffer.isBuffer(body) ? body.length : body.to - body.from;
  const fields: Record<string, string | number> = { ...reply.fields };
  // RFC 9110 §8.6: an answer of status 204 has no Content-Length.
  if (reply.status !== 204) fields['Content-Length'] = length;
  if (!request.complete) fields['Connection'] = 'close';
  response.writeHead(reply.status, fields);
  if (request.method === 'HEAD') response.end();
  else if (Buffer.isBuffer(body)) response.end(body);
  else if (length === 0) response.end();
  // A file that cannot be read to its end breaks the answer off, which is all that is left to say.
  else
    pipeline(createReadStream(body.path, { start: body.from, end: body.to - 1 }), response, () => undefined);
}
