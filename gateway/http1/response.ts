/** Checks a node's response head: ambiguous framing counts as a failure of the node, not as a response. */

import { parseDecimal } from '../core/decimal.ts';
import type { Framing } from '../core/facts.ts';
import { downstreamFields, fieldValues, listMembers } from '../core/headers.ts';
import { unsafeField } from './fields.ts';
import type { RawHead } from './head-reader.ts';

/** A response head that may be relayed; names are as sent. */
export interface ResponseHead {
  readonly status: number;
  readonly fields: readonly string[];
  /** The fields forwarded to the caller, as lines; cached with the head, which often comes again. */
  readonly keptLines: string;
  readonly framing: Framing;
  /** `Content-Length` as sent; a response to HEAD has it although no body follows. */
  readonly declaredLength?: number;
  /** Whether the node's connection may carry another request. */
  readonly keepAlive: boolean;
}

/** Returns the head as the relay sees it, or an error string. `method` is that of the request (RFC 9112 §6.3). */
export function readResponse(raw: RawHead, method: string): ResponseHead | string {
  if (raw.major !== 1 || raw.minor > 1) return 'not HTTP/1.0 or HTTP/1.1';
  if (raw.status < 100 || raw.status > 599) return `invalid status ${raw.status}`;
  const unsafe = unsafeField(raw.fields);
  if (unsafe !== undefined) return unsafe;
  const lengths = fieldValues(raw.fields, 'content-length');
  const codings = fieldValues(raw.fields, 'transfer-encoding');
  if (lengths.length + codings.length > 1) return 'more than one Content-Length or Transfer-Encoding';
  const [length] = lengths;
  const bytes = length === undefined ? undefined : parseDecimal(length);
  if (length !== undefined && bytes === undefined) return 'Content-Length is not a plain decimal number';
  const framing = readFraming(raw, method, codings[0], bytes);
  if (typeof framing === 'string') return framing;
  const options = listMembers(raw.fields, 'connection');
  const head = {
    status: raw.status,
    fields: raw.fields,
    keptLines: downstreamFields(raw.fields, options),
    framing,
    keepAlive: staysOpen(raw, framing, options),
  };
  return bytes === undefined ? head : { ...head, declaredLength: bytes };
}

function readFraming(
  raw: RawHead,
  method: string,
  coding: string | undefined,
  bytes: number | undefined,
): Framing | string {
  if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || raw.minor === 0)) {
    return `unsupported Transfer-Encoding ${coding}`;
  }
  // RFC 9110 §8.6, RFC 9112 §6.1: a body sent here would be read as the next response.
  if ((raw.status < 200 || raw.status === 204) && (coding !== undefined || (bytes ?? 0) > 0)) {
    return `status ${raw.status} with a body`;
  }
  if (method === 'HEAD' || raw.status < 200 || raw.status === 204 || raw.status === 304)
    return { kind: 'none' };
  if (coding !== undefined) return { kind: 'chunked' };
  if (bytes === undefined) return { kind: 'close' };
  return bytes === 0 ? { kind: 'none' } : { kind: 'length', length: bytes };
}

function staysOpen(raw: RawHead, framing: Framing, options: readonly string[]): boolean {
  if (framing.kind === 'close') return false;
  if (options.includes('close')) return false;
  return raw.minor === 1 || options.includes('keep-alive');
}
