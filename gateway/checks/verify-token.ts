/** A token not seen before: its form, its signature by a key of its issuer, and the claims every token must have. */

import { compactVerify, errors } from 'jose';
import { type Denial, deny } from '../core/denial.ts';
import { parseScopes } from '../core/scope.ts';
import { repeatedKey } from '../patch/json-keys.ts';
import type { Issuer, Tenant } from '../policy/policy.ts';
import type { VerifiedToken } from '../policy/token-memory.ts';

type Claims = Readonly<Record<string, unknown>>;

/** Header parameters that are followed by nobody here: keys come from the policy alone (RFC 8725 §3.10). */
const FORBIDDEN_HEADER = ['crit', 'b64', 'zip', 'jwk', 'jku', 'x5u', 'x5c'];
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'JWT', 'jwt', 'at+jwt', 'application/at+jwt']);
const KEY_ID = /^[\w.-]{1,64}$/;
/** `max_epochs` where the token says nothing. */
const DEFAULT_MAX_EPOCHS = 100;

/** The token with its claims read, or why not. Rejects never: jose's errors, and any other, become denials. */
export async function verifyToken(tenant: Tenant, text: string, nowMs: number): Promise<VerifiedToken | Denial> {
  const parts = text.split('.');
  if (parts.length !== 3 || !parts.every(isCanonical)) return malformed('it is not canonical base64url');
  const header = readPart(parts[0]);
  const claims = readPart(parts[1]);
  if (header === undefined || claims === undefined) return malformed('a part is no JSON object of unique names');
  const loose = headerFault(header);
  if (loose !== undefined) return malformed(loose);
  const issuer = tenant.issuers.find((each) => each.issuer === claims['iss']);
  if (issuer === undefined) return invalid('its issuer is not accepted');
  return (await signatureFault(issuer, text)) ?? readClaims(issuer, claims, nowMs);
}

/** One spelling a token: the last character's spare bits must be zero, or the same token had many texts. */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}

/** A JSON object that names nothing twice (RFC 7519 §4); deep nesting makes the parser throw, too. */
function readPart(part: string | undefined): Claims | undefined {
  try {
    const json = Buffer.from(part ?? '', 'base64url').toString('utf8');
    const value: unknown = JSON.parse(json);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return repeatedKey(json) === undefined ? (value as Claims) : undefined;
  } catch {
    return undefined;
  }
}

function headerFault(header: Claims): string | undefined {
  const forbidden = FORBIDDEN_HEADER.find((name) => Object.hasOwn(header, name));
  if (forbidden !== undefined) return `its header has ${forbidden}`;
  if (!TYPES.has(header['typ'])) return 'its typ is not that of an access token';
  const { kid } = header;
  return kid === undefined || (typeof kid === 'string' && KEY_ID.test(kid)) ? undefined : 'its kid is no key id';
}

async function signatureFault(issuer: Issuer, text: string): Promise<Denial | undefined> {
  try {
    await compactVerify(text, issuer.keys.find, { algorithms: [...issuer.algorithms] });
    return undefined;
  } catch (error) {
    const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)) {
      return deny('token', 'token-invalid', 'The signature of the token does not hold.', { cause });
    }
    return deny('token', 'token-invalid', 'The token cannot be verified now.', { cause });
  }
}

/** RFC 9068 §2.2 and RFC 7519 §4.1, stricter: all five claims, integers only, no token that outlives its issuer's word. */
function readClaims(issuer: Issuer, claims: Claims, nowMs: number): VerifiedToken | Denial {
  const subject = claims['sub'];
  const [expMs, iatMs, nbfMs] = ['exp', 'iat', 'nbf'].map((name) => instant(claims[name]));
  if (typeof subject !== 'string' || subject === '' || expMs === undefined || iatMs === undefined) {
    return invalid('it lacks sub, exp or iat');
  }
  if (claims['nbf'] !== undefined && nbfMs === undefined) return invalid('its nbf is no time');
  if (!hasAudience(claims['aud'], issuer.audience)) return invalid('it is meant for another audience');
  if (iatMs > nowMs + issuer.clockSkewMs) return invalid('it was issued in the future');
  if (expMs - iatMs > issuer.maxLifetimeMs) return invalid('it lives longer than allowed');
  const maxEpochs = claims['max_epochs'] ?? DEFAULT_MAX_EPOCHS;
  if (!isCount(maxEpochs)) return invalid('its max_epochs is no number of epochs');
  const modelId = claims['model_id'];
  if (modelId !== undefined && typeof modelId !== 'string') return invalid('its model_id is no name');
  const thumbprint = confirmation(claims['cnf']);
  if (claims['cnf'] !== undefined && thumbprint === undefined) return invalid('its cnf is of no known kind');
  return {
    issuer: issuer.name,
    subject,
    ...(typeof claims['jti'] === 'string' && { jti: claims['jti'] }),
    grants: [...parseScopes(claims['scope']), ...parseScopes(claims['scp'])],
    ...(modelId !== undefined && { modelId }),
    maxEpochs: maxEpochs === 0 ? Number.POSITIVE_INFINITY : maxEpochs,
    ...(thumbprint !== undefined && { thumbprint }),
    expMs,
    nbfMs: nbfMs ?? 0,
    claims,
  };
}

/** A NumericDate in milliseconds; whole seconds only. */
function instant(value: unknown): number | undefined {
  return isCount(value) && value <= Number.MAX_SAFE_INTEGER / 1000 ? value * 1000 : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function hasAudience(claim: unknown, audience: string): boolean {
  return claim === audience || (Array.isArray(claim) && claim.includes(audience));
}

/** `x5t#S256` of `cnf` (RFC 8705 §3.1); a confirmation of another kind cannot be checked and is refused. */
function confirmation(cnf: unknown): string | undefined {
  if (typeof cnf !== 'object' || cnf === null || !('x5t#S256' in cnf)) return undefined;
  const thumbprint = cnf['x5t#S256'];
  return typeof thumbprint === 'string' && /^[A-Za-z0-9_-]{43}$/.test(thumbprint) ? thumbprint : undefined;
}

function malformed(problem: string): Denial {
  return deny('token', 'token-malformed', `The token cannot be read: ${problem}.`);
}

function invalid(problem: string): Denial {
  return deny('token', 'token-invalid', `The token is not accepted: ${problem}.`);
}
