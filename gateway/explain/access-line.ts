/** Turns a line of the access log into the request that it records. */

import { z } from 'zod';
import { parseAddress } from '../core/address.ts';
import { type DenialCode, denials, type Step } from '../core/denial.ts';
import type { AssumedToken, CertificateFacts } from '../core/facts.ts';
import { parseJson } from '../core/json-value.ts';
import { readAlternativeNames } from '../edge/peer-certificate.ts';
import { UPGRADE_FIELDS } from '../http1/websocket.ts';
import { accessKeys } from '../observe/access-entry.ts';
import { WEIGHT_PATCH_TYPE } from '../patch/layout.ts';
import { certificateFromFields } from './certificate-from-fields.ts';
import type { HypotheticalRequest } from './hypothetical-request.ts';

/** A request as far as it was recorded, and how it ended. */
export interface RecordedRequest {
  readonly request: HypotheticalRequest;
  readonly status: number;
  readonly code?: string;
  /** What its route would have refused it for, had it not been in shadow. */
  readonly shadowCode?: string;
}

const text = z.string().optional();
const line = z.object({
  time: z.iso.datetime(),
  [accessKeys.listener]: z.string(),
  [accessKeys.serverName]: z.string(),
  [accessKeys.peerAddress]: z.string(),
  [accessKeys.clientAddress]: text,
  [accessKeys.method]: z.string(),
  [accessKeys.path]: z.string(),
  [accessKeys.status]: z.number(),
  [accessKeys.durationMs]: z.number(),
  [accessKeys.bytesIn]: z.number(),
  [accessKeys.certificateSubject]: text,
  [accessKeys.certificateNames]: text,
  [accessKeys.certificateSerial]: text,
  [accessKeys.certificateHash]: text,
  [accessKeys.tokenSubject]: text,
  [accessKeys.tokenId]: text,
  [accessKeys.tokenClaims]: z.record(z.string(), z.unknown()).optional(),
  [accessKeys.denialCode]: text,
  [accessKeys.decisionStep]: text,
  [accessKeys.shadowStep]: text,
  [accessKeys.shadowCode]: text,
  [accessKeys.cause]: text,
});

type Line = z.output<typeof line>;

/** A line for a request whose head was refused; it may lack the method and the path. */
const headless = z.object({ [accessKeys.decisionStep]: z.literal('head') });

/** Methods whose requests may have no body. */
const WITHOUT_BODY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);

/** The log has no content type. A body is taken for a weight patch, since only routes for patches check the type. */
const PATCH_FIELDS = ['Content-Type', WEIGHT_PATCH_TYPE];
/** Status of a tunnel, whose bytes are not a body. */
const SWITCHED = 101;

/** Returns undefined if the head of the request was refused; a string is the error message for an invalid line. */
export function readAccessLine(json: string): RecordedRequest | string | undefined {
  const parsed = parseJson(json);
  if (headless.safeParse(parsed).success) return undefined;
  const read = line.safeParse(parsed);
  if (!read.success) {
    const [issue] = read.error.issues;
    return `not a line of the access log: ${issue?.path.join('.')}: ${issue?.message}`;
  }
  const entry = read.data;
  const peer = parseAddress(entry[accessKeys.peerAddress]);
  if (peer === undefined) return `expected an IP address, got ${entry[accessKeys.peerAddress]}`;
  const method = entry[accessKeys.method];
  const bytes = entry[accessKeys.bytesIn];
  const isTunnel = entry[accessKeys.status] === SWITCHED;
  const hasBody = !isTunnel && (bytes > 0 || !WITHOUT_BODY.has(method));
  const client = entry[accessKeys.clientAddress];
  const token = tokenOf(entry);
  const code = entry[accessKeys.denialCode];
  const shadowCode = entry[accessKeys.shadowCode];
  return {
    status: entry[accessKeys.status],
    ...(code !== undefined && { code }),
    ...(shadowCode !== undefined && { shadowCode }),
    request: {
      listener: entry[accessKeys.listener],
      serverName: entry[accessKeys.serverName],
      peer,
      method,
      target: entry[accessKeys.path],
      fields: isTunnel ? UPGRADE_FIELDS : hasBody ? PATCH_FIELDS : [],
      ...(client !== undefined && client !== peer.text && { client }),
      ...(hasBody && { bodyBytes: bytes }),
      certificate: certificateOf(entry),
      ...(token !== undefined && { token }),
      nowMs: Date.parse(entry.time) - entry[accessKeys.durationMs],
    },
  };
}

/** The code by which a step refused it, or would have, had the route not been in shadow. */
function refusedFor(entry: Line, step: Step): string | undefined {
  if (entry[accessKeys.decisionStep] === step) return entry[accessKeys.denialCode];
  return entry[accessKeys.shadowStep] === step ? entry[accessKeys.shadowCode] : undefined;
}

function tokenOf(entry: Line): AssumedToken | undefined {
  const claims = entry[accessKeys.tokenClaims];
  const sub = entry[accessKeys.tokenSubject];
  const jti = entry[accessKeys.tokenId];
  if (claims !== undefined && sub !== undefined)
    return { kind: 'claims', claims: { ...claims, sub, ...(jti !== undefined && { jti }) } };
  const code = refusedFor(entry, 'token');
  if (code !== undefined && Object.hasOwn(denials, code))
    return { kind: 'refused', code: code as DenialCode };
  return undefined;
}

function certificateOf(entry: Line): CertificateFacts {
  const subject = entry[accessKeys.certificateSubject];
  const fingerprint = entry[accessKeys.certificateHash];
  if (subject === undefined || fingerprint === undefined) {
    const refused = refusedFor(entry, 'certificate') === 'certificate-denied';
    return refused
      ? { status: 'refused', reason: entry[accessKeys.cause] ?? 'it was not valid' }
      : { status: 'absent' };
  }
  const alternativeNames = entry[accessKeys.certificateNames] ?? '';
  const names = readAlternativeNames(alternativeNames) ?? [];
  const valuesOf = (type: string): string[] =>
    names.filter((name) => name.type === type).map(({ value }) => value);
  return certificateFromFields({
    subject,
    alternativeNames,
    dnsNames: valuesOf('DNS'),
    uris: valuesOf('URI'),
    emails: valuesOf('email'),
    serialNumber: entry[accessKeys.certificateSerial] ?? '',
    fingerprint,
  });
}
