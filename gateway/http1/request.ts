/** Checks a request head by RFC 9112 and by our own stricter rules, before the decision. */

import { parseDecimal } from '../core/decimal.ts';
import { type Denial, deny, isDenial } from '../core/denial.ts';
import type { Framing, RequestHead } from '../core/facts.ts';
import { listMembers } from '../core/headers.ts';
import { checkPath, pathOf } from '../core/request-target.ts';
import { unsafeField } from './fields.ts';
import type { HeadFault, RawHead } from './head-reader.ts';

/** Fields that are ambiguous if repeated (RFC 9110 §5.3); only one value of each is accepted. */
interface Singletons {
  host?: string;
  'content-length'?: string;
  'transfer-encoding'?: string;
  'content-type'?: string;
  authorization?: string;
  expect?: string;
}

const SINGLETONS = [
  'host',
  'content-length',
  'transfer-encoding',
  'content-type',
  'authorization',
  'expect',
] as const satisfies readonly (keyof Singletons)[];
/** Indexed by length, which is different for each of them, so a name is compared with one at most. */
const BY_LENGTH = Array.from({ length: 18 }, (_, length) =>
  SINGLETONS.find((name) => name.length === length),
);

const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?$/i;
const ABSOLUTE = /^https?:\/\/([^/?#]*)([/?].*)?$/i;
const VISIBLE = /^[!-~]*$/;
/** Names of transfer codings, with chunked only at the end: well-formed, but not supported here. */
const CODINGS = /^(?:(?!chunked[ \t]*,)[a-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*(?!$)|$))+$/i;

/** The denial for a head that cannot be parsed. */
export function headDenial(fault: HeadFault): Denial {
  const detail = `${fault.reason}.`;
  if (fault.rule === 'syntax') return deny('head', 'bad-request', detail);
  return deny('head', 'head-too-large', detail, fault.rule === 'target-too-long' ? { status: 414 } : {});
}

/**
 * The head as the rest of the gateway sees it. Denials: 405 for CONNECT and `*`, 417 for an unsupported expectation
 * (RFC 9110 §10.1.1), 501 for an unknown transfer coding (RFC 9112 §6.1), otherwise 400.
 */
export function readRequest(raw: RawHead): RequestHead | Denial {
  if (raw.major !== 1 || raw.minor > 1) return bad('Only HTTP/1.0 and HTTP/1.1 are supported');
  const unsafe = unsafeField(raw.fields);
  if (unsafe !== undefined) return bad(unsafe);
  const found: Singletons = {};
  const repeated = collectSingletons(raw.fields, found);
  if (repeated !== undefined) return bad(`The field ${repeated} is repeated`);
  return assemble(raw, found);
}

function assemble(raw: RawHead, found: Singletons): RequestHead | Denial {
  const minor = raw.minor === 0 ? 0 : 1;
  const host = readHost(found.host);
  if (host === undefined) return bad('Host must be one name with an optional port');
  if (raw.method === 'CONNECT' || raw.target === '*') {
    return deny('head', 'method-not-allowed', 'CONNECT and * are not supported.', { allow: [] });
  }
  const target = originForm(raw.target, found.host ?? '');
  if (target === undefined)
    return bad('The request target must be a path, or a URL with the same host as Host');
  const path = pathOf(target);
  const shape = checkPath(path);
  if (typeof shape === 'string') return bad(shape);
  const framing = readFraming(found, minor);
  if (isDenial(framing)) return framing;
  const expect = found.expect?.toLowerCase();
  if (expect !== undefined && expect !== '100-continue')
    return bad('The only supported expectation is 100-continue', 417);
  return {
    method: raw.method,
    target,
    path,
    encodedSlash: shape.encodedSlash,
    minor,
    host,
    authority: found.host ?? '',
    fields: raw.fields,
    framing,
    keepAlive: wantsKeepAlive(raw.fields, minor),
    expectsContinue: expect !== undefined && minor === 1 && framing.kind !== 'none',
  };
}

function bad(problem: string, status?: 417 | 501): Denial {
  return deny('head', 'bad-request', `${problem}.`, status === undefined ? {} : { status });
}

/** Fills `found`. Returns the name of a field that is repeated. */
function collectSingletons(fields: readonly string[], found: Singletons): string | undefined {
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const known = BY_LENGTH[name.length];
    if (known === undefined || name.toLowerCase() !== known) continue;
    if (found[known] !== undefined) return known;
    found[known] = fields[i + 1] ?? '';
  }
  return undefined;
}

/** `Host` without port and trailing dot, in lower case (RFC 9110 §7.2). */
function readHost(value: string | undefined): string | undefined {
  const [, name, port] = HOST.exec(value ?? '') ?? [];
  if (name === undefined || (port !== undefined && Number(port) > 65535)) return undefined;
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/** Origin-form of the target; an absolute one must name the host that `Host` names (RFC 9112 §3.2.2). */
function originForm(target: string, host: string): string | undefined {
  if (!VISIBLE.test(target) || target.includes('#')) return undefined;
  if (target.startsWith('/')) return target;
  const [, authority, rest = '/'] = ABSOLUTE.exec(target) ?? [];
  if (authority?.toLowerCase() !== host.toLowerCase()) return undefined;
  return rest.startsWith('?') ? `/${rest}` : rest;
}

/** The framing of the body (RFC 9112 §6.3), or the denial. */
function readFraming(found: Singletons, minor: 0 | 1): Framing | Denial {
  const length = found['content-length'];
  const coding = found['transfer-encoding'];
  if (coding !== undefined) {
    if (length !== undefined) return bad('Content-Length and Transfer-Encoding must not be combined');
    if (minor === 0) return bad('Transfer-Encoding is not part of HTTP/1.0');
    if (coding.toLowerCase() === 'chunked') return { kind: 'chunked' };
    return bad('The only supported transfer coding is chunked', CODINGS.test(coding) ? 501 : undefined);
  }
  if (length === undefined) return { kind: 'none' };
  const bytes = parseDecimal(length);
  if (bytes === undefined) return bad('Content-Length must be a plain decimal number');
  return bytes === 0 ? { kind: 'none' } : { kind: 'length', length: bytes };
}

function wantsKeepAlive(fields: readonly string[], minor: 0 | 1): boolean {
  const options = listMembers(fields, 'connection');
  if (options.includes('close')) return false;
  return minor === 1 || options.includes('keep-alive');
}
