/** Writes framing: its field line, and the chunked coding without extensions (RFC 9112 §7.1). */

import type { Framing } from '../core/facts.ts';
import type { ResponseHead } from '../http1/response.ts';

export const CRLF = '\r\n';

/** The last chunk and the trailer lines after it, each ending in CRLF. */
export function chunkedEnd(trailers: string): string {
  return `0\r\n${trailers}\r\n`;
}

/** The size line of a chunk. `lengthBytes` is never 0, which would end the body. */
export function chunkStart(lengthBytes: number): string {
  return `${lengthBytes.toString(16)}\r\n`;
}

/** Smaller pieces are sent as text, joined with their neighbours: a separate write would cost more than the copy. */
export const SMALL_BYTES = 512;

/** A whole small chunk as Latin-1. */
export function smallChunk(bytes: Buffer): string {
  return `${bytes.length.toString(16)}\r\n${bytes.toString('latin1')}\r\n`;
}

/** The field line of a request. A method that usually has a body gets a length of 0 without one (RFC 9110 §8.6). */
export function requestFraming(framing: Framing, method: string): string {
  const line = framingLine(framing);
  if (line !== '') return line;
  return method === 'PUT' || method === 'POST' || method === 'PATCH' ? lengthLine(0) : '';
}

/** The field line of a response. To HEAD, and with 304, it keeps the length a GET would have had (RFC 9110 §8.6). */
export function responseFraming(head: ResponseHead, framing: Framing, method: string): string {
  const line = framingLine(framing);
  if (line !== '' || framing.kind === 'close' || head.status === 204) return line;
  const declared = method === 'HEAD' || head.status === 304 ? head.declaredLength : 0;
  return declared === undefined ? '' : lengthLine(declared);
}

function framingLine(framing: Framing): string {
  if (framing.kind === 'length') return lengthLine(framing.length);
  return framing.kind === 'chunked' ? `Transfer-Encoding: chunked${CRLF}` : '';
}

function lengthLine(bytes: number): string {
  return `Content-Length: ${bytes}${CRLF}`;
}
