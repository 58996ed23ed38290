/** Verifies a new token: its form and its claims first, since they cost little, then its signature. */

import { isUtf8 } from 'node:buffer';
import type { Address } from '../core/address.ts';
import { type Denial, deny, isDenial } from '../core/denial.ts';
import type { AssumedToken } from '../core/facts.ts';
import { repeatedKey } from '../core/json-keys.ts';
import type { Verdict } from '../keys/key-set.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { Issuer, Tenant } from '../policy/policy.ts';
import { type Claims, invalid, loggedClaims, readClaims, type UnverifiedToken } from './token-claims.ts';
import { checkTimes } from './token-times.ts';

/** Header parameters that must not be followed: keys come only from the policy (RFC 8725 §3.10, RFC 7797 §6). */
const FORBIDDEN_HEADER = ['crit', 'b64', 'zip', 'jwk', 'jku', 'x5u', 'x5c'];
/** Media types in lower case; RFC 7515 §4.1.9 allows leaving out `application/`. */
const TYPES: ReadonlySet<string> = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt']);
const KEY_ID = /^[\w.-]{1,64}$/;
/** `Retry-After` while the issuer's keys are unavailable. */
const KEYS_RETRY_S = 5;

/** For whom and when a token is verified. */
export interface VerificationContext {
  /** The client address that failures are counted for. */
  readonly address: Address;
  /** The time it is checked at, milliseconds since the epoch. */
  readonly nowMs: number;
  /** It came with a new request: keys may be fetched for it, and a failure counts against the address. */
  readonly isNew: boolean;
}

/** The token of a compact JWS of three parts, or the denial. Never rejects. */
export async function verifyToken(
  tenant: Tenant,
  jws: string,
  verification: VerificationContext,
): Promise<VerifiedToken | Denial> {
  const parts = jws.split('.');
  if (!parts.every(isCanonical)) return malformed('it is not canonical base64url');
  const header = readPart(parts[0]);
  const claims = readPart(parts[1]);
  if (header === undefined || claims === undefined)
    return malformed('a part is not a JSON object with unique names');
  const loose = headerFault(header);
  if (loose !== undefined) return malformed(loose);
  const issuer = issuerOf(tenant, claims);
  if (isDenial(issuer)) return issuer;
  const token = await verifyOf(issuer, tenant, jws, claims, verification);
  return isDenial(token) ? { ...token, issuer: issuer.name } : token;
}

async function verifyOf(
  issuer: Issuer,
  tenant: Tenant,
  jws: string,
  claims: Claims,
  verification: VerificationContext,
): Promise<VerifiedToken | Denial> {
  const token = readTimely(issuer, claims, verification.nowMs);
  if (isDenial(token)) return token;
  const verdict = await verifySignature(issuer, tenant, jws, verification);
  if (typeof verdict === 'number') return tooManyFailures(verdict);
  if (verdict.kind !== 'verified') return signatureDenial(verdict);
  const logged = loggedClaims(claims, tenant.claimNames);
  return { ...token, keysVersion: verdict.version, ...(logged !== undefined && { logged }) };
}

/** Returns the verdict, or the milliseconds to wait if no more tokens of the address may be verified now. */
async function verifySignature(
  { keys, algorithms }: Issuer,
  { failedTokens }: Tenant,
  jws: string,
  { address, nowMs, isNew }: VerificationContext,
): Promise<Verdict | number> {
  if (!isNew) return keys.verify(jws, algorithms, false);
  const waitMs = await failedTokens.begin(address, nowMs);
  if (waitMs > 0) return waitMs;
  let verdict: Verdict | undefined;
  try {
    verdict = await keys.verify(jws, algorithms, true);
    return verdict;
  } finally {
    failedTokens.end(address, nowMs, verdict?.kind === 'refused');
  }
}

/** The token of a hypothetical request, read as if its signature were valid. */
export function readAssumedToken(
  tenant: Tenant,
  assumed: AssumedToken,
  nowMs: number,
): VerifiedToken | Denial {
  if (assumed.kind === 'refused') return deny('token', assumed.code, 'The token was refused.');
  const issuer = issuerOf(tenant, assumed.claims);
  if (isDenial(issuer)) return issuer;
  const token = readTimely(issuer, assumed.claims, nowMs);
  return isDenial(token) ? token : { ...token, keysVersion: issuer.keys.version };
}

function issuerOf(tenant: Tenant, claims: Claims): Issuer | Denial {
  const issuer = tenant.issuers.find((each) => each.issuer === claims['iss']);
  return issuer ?? invalid('its issuer is not accepted');
}

/** The token in the claims, if it is valid for its issuer at this time. */
function readTimely(issuer: Issuer, claims: Claims, nowMs: number): UnverifiedToken | Denial {
  const token = readClaims(issuer, claims, nowMs);
  return isDenial(token) ? token : (checkTimes(token, issuer, nowMs) ?? token);
}

function tooManyFailures(waitMs: number): Denial {
  const detail = 'Too many tokens from this address are invalid or still being verified.';
  return deny('token', 'rate-limited', detail, { retryAfterS: Math.ceil(waitMs / 1000) });
}

/** Whether the part is the canonical spelling of its bytes: the unused bits of its last character are zero. */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}

/** A JSON object in UTF-8 without duplicate keys (RFC 7519 §4). Deep nesting makes the parser throw as well. */
function readPart(part: string | undefined): Claims | undefined {
  try {
    const bytes = Buffer.from(part ?? '', 'base64url');
    const json = bytes.toString('utf8');
    const value: unknown = JSON.parse(json);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return isUtf8(bytes) && repeatedKey(json) === undefined ? (value as Claims) : undefined;
  } catch {
    return undefined;
  }
}

function headerFault(header: Claims): string | undefined {
  const { typ, kid } = header;
  const forbidden = FORBIDDEN_HEADER.find((name) => Object.hasOwn(header, name));
  if (forbidden !== undefined) return `its header has ${forbidden}`;
  if (typ !== undefined && !(typeof typ === 'string' && TYPES.has(typ.toLowerCase()))) {
    return 'its typ is not that of an access token';
  }
  if (kid !== undefined && !(typeof kid === 'string' && KEY_ID.test(kid))) return 'its kid is not a key id';
  return undefined;
}

function signatureDenial({ kind, cause }: Exclude<Verdict, { kind: 'verified' }>): Denial {
  return kind === 'refused'
    ? deny('token', 'token-invalid', 'The signature of the token is not valid.', { cause })
    : deny('token', 'overloaded', 'The token cannot be verified right now.', {
        cause,
        retryAfterS: KEYS_RETRY_S,
      });
}

function malformed(problem: string): Denial {
  return deny('token', 'token-malformed', `The token cannot be read: ${problem}.`);
}
