/** The claims of a token, read strictly: RFC 7519 §4.1 and RFC 9068 §2.2, each claim with its exact type. */

import { parseDecimal } from '../core/decimal.ts';
import { type Denial, deny } from '../core/denial.ts';
import { escapeActive } from '../core/json-text.ts';
import { parseScopes } from '../core/scope.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { Issuer } from '../policy/policy.ts';

/** The parsed claims of a payload; read own properties only, because names are arbitrary. */
export type Claims = Readonly<Record<string, unknown>>;

/** A token whose signature was not checked. */
export type UnverifiedToken = Omit<VerifiedToken, 'keysVersion' | 'logged'>;

/** `max_epochs` if the token has none; 0 means no limit. */
const DEFAULT_MAX_EPOCHS = 100;
const MAX_SECONDS = Number.MAX_SAFE_INTEGER / 1000;
/** Base64url of 32 bytes. */
const SHA_256 = /^[A-Za-z0-9_-]{43}$/;

/** Reads the required claims and those patchgate defines; `iss` was compared when the issuer was chosen. */
export function readClaims(issuer: Issuer, claims: Claims, nowMs: number): UnverifiedToken | Denial {
  const identity = readIdentity(issuer, claims);
  if (typeof identity === 'string') return invalid(identity);
  const times = readTimes(issuer, claims, nowMs);
  if (typeof times === 'string') return invalid(times);
  const limits = readLimits(claims);
  if (typeof limits === 'string') return invalid(limits);
  const grants = [...parseScopes(claims['scope']), ...parseScopes(claims['scp'])];
  return { ...identity, ...times, ...limits, grants, claims };
}

export function invalid(problem: string): Denial {
  return deny('token', 'token-invalid', `The token is not accepted: ${problem}.`);
}

type Identity = Pick<VerifiedToken, 'issuer' | 'subject' | 'jti' | 'thumbprint'>;

function readIdentity(issuer: Issuer, claims: Claims): Identity | string {
  const { sub, jti, cnf } = claims;
  if (!isName(sub)) return 'its sub is missing or not valid text';
  if (jti !== undefined && !isName(jti)) return 'its jti is not valid text';
  if (!hasAudience(claims['aud'], issuer.audience)) return 'it is for another audience';
  const thumbprint = confirmation(cnf);
  if (cnf !== undefined && thumbprint === undefined) return 'its cnf is not an x5t#S256 thumbprint alone';
  return {
    issuer: issuer.name,
    subject: sub,
    ...(jti !== undefined && { jti }),
    ...(thumbprint !== undefined && { thumbprint }),
  };
}

type Times = Pick<VerifiedToken, 'expMs' | 'nbfMs'>;

function readTimes(issuer: Issuer, claims: Claims, nowMs: number): Times | string {
  const expMs = instant(claims['exp']);
  const iatMs = instant(claims['iat']);
  const nbfMs = claims['nbf'] === undefined ? 0 : instant(claims['nbf']);
  if (expMs === undefined || iatMs === undefined) return 'it has no exp or no iat in whole seconds';
  if (nbfMs === undefined) return 'its nbf is not in whole seconds';
  if (iatMs > nowMs + issuer.clockSkewMs) return 'it was issued in the future';
  if (expMs - iatMs > issuer.maxLifetimeMs) return 'its lifetime is longer than allowed';
  return { expMs, nbfMs };
}

type Limits = Pick<VerifiedToken, 'modelId' | 'maxEpochs' | 'baseVersion' | 'targetVersion'>;

function readLimits(claims: Claims): Limits | string {
  const { model_id: modelId, max_epochs: maxEpochs = DEFAULT_MAX_EPOCHS } = claims;
  if (modelId !== undefined && !isName(modelId)) return 'its model_id is not valid text';
  if (!isCount(maxEpochs)) return 'its max_epochs is not a number of epochs';
  const baseVersion = versionNumber(claims['base_version']);
  if (baseVersion === null) return 'its base_version is not a version';
  const targetVersion = versionNumber(claims['target_version']);
  if (targetVersion === null) return 'its target_version is not a version';
  return {
    ...(modelId !== undefined && { modelId }),
    maxEpochs: maxEpochs === 0 ? Number.POSITIVE_INFINITY : maxEpochs,
    ...(baseVersion !== undefined && { baseVersion }),
    ...(targetVersion !== undefined && { targetVersion }),
  };
}

/** Accepts a version as a number or as decimal text; returns null for anything else. */
function versionNumber(claim: unknown): number | undefined | null {
  if (claim === undefined || isCount(claim)) return claim;
  return typeof claim === 'string' ? (parseDecimal(claim) ?? null) : null;
}

/** Text that any encoding can represent: not empty, no lone surrogate. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.isWellFormed();
}

/** Converts a NumericDate (RFC 7519 §2) in whole seconds to milliseconds. */
function instant(value: unknown): number | undefined {
  return isCount(value) && value <= MAX_SECONDS ? value * 1000 : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function hasAudience(claim: unknown, audience: string): boolean {
  return claim === audience || (Array.isArray(claim) && claim.includes(audience));
}

/** The thumbprint of RFC 8705 §3.1; undefined for any other or further confirmation, which cannot be checked here. */
function confirmation(cnf: unknown): string | undefined {
  if (typeof cnf !== 'object' || cnf === null || !Object.hasOwn(cnf, 'x5t#S256')) return undefined;
  const thumbprint = (cnf as Claims)['x5t#S256'];
  const alone = Object.keys(cnf).length === 1;
  return alone && typeof thumbprint === 'string' && SHA_256.test(thumbprint) ? thumbprint : undefined;
}

/** Claims with a meaning here, except `sub` and `jti`, which are logged separately. */
const MEANT = [
  ...['iss', 'aud', 'exp', 'iat', 'nbf', 'scope', 'scp', 'cnf'],
  ...['model_id', 'max_epochs', 'base_version', 'target_version'],
];
const LOGGED_CHARACTERS = 2048;

/** The claims a decision may depend on, as JSON on one line; undefined if that is too long. */
export function loggedClaims(claims: Claims, further: ReadonlySet<string>): string | undefined {
  const names = [...MEANT, ...further].filter((name) => Object.hasOwn(claims, name));
  const text = JSON.stringify(Object.fromEntries(names.map((name) => [name, claims[name]])));
  return text.length > LOGGED_CHARACTERS ? undefined : escapeActive(text);
}
