/** The framing as we write it: the field line that says it, and the chunked coding (RFC 9112 §7.1), no extensions. */

import type { Framing } from '../core/facts.ts';
import type { ResponseHead } from '../http1/response.ts';

export const CRLF = '\r\n';

/** The last chunk, and the trailer lines behind it, CRLF behind each. */
export function chunkedEnd(trailers: string): string {
  return `0\r\n${trailers}\r\n`;
}

/** The line before a chunk of so many bytes; never of zero, which would end the body. */
export function chunkStart(lengthBytes: number): string {
  return `${lengthBytes.toString(16)}\r\n`;
}

/** A smaller piece goes on as text, in one write with what is before and behind it: a write of its own would cost many times its bytes. */
export const SMALL_BYTES = 512;

/** A whole small chunk as Latin-1. */
export function smallChunk(bytes: Buffer): string {
  return `${bytes.length.toString(16)}\r\n${bytes.toString('latin1')}\r\n`;
}

/** Of a request. A method that usually has a body says its length even where there is none (RFC 9110 §8.6). */
export function requestFraming(framing: Framing, method: string): string {
  const line = framingLine(framing);
  if (line !== '') return line;
  return method === 'PUT' || method === 'POST' || method === 'PATCH' ? lengthLine(0) : '';
}

/** Of a response. One to HEAD, and 304, may say the length it would have had (RFC 9110 §8.6). */
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
