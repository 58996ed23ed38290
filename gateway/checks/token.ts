/** Step 5: is there a token, is it genuine and current, and does it belong to this certificate? */

import type { Address } from '../core/address.ts';
import { type Denial, deny, isDenial } from '../core/denial.ts';
import type { Facts, VerifiedCertificate } from '../core/facts.ts';
import { fieldValues } from '../core/headers.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { Requirement, Tenant, TokenBinding } from '../policy/policy.ts';
import { checkTimes } from './token-times.ts';
import { readAssumedToken, verifyToken } from './verify-token.ts';

/** A longer token is refused unread. */
const MAX_CHARACTERS = 8192;
const SCHEME = 'bearer ';
/** A compact JWS: header, payload, signature. */
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** Who presents the token. */
export interface Bearer {
  readonly address: Address;
  readonly certificate: VerifiedCertificate | undefined;
}

/**
 * The token of the request. A token seen before costs one look-up and no promise; a new one is verified and remembered.
 * Times, binding and revocation are checked either way.
 */
export function checkToken(
  tenant: Tenant,
  requirement: Requirement,
  facts: Facts,
  bearer: Bearer,
): VerifiedToken | Denial | Promise<VerifiedToken | Denial> {
  const nowMs = facts.tokenNowMs ?? facts.nowMs;
  const holds = (token: VerifiedToken | Denial): VerifiedToken | Denial =>
    isDenial(token) ? token : (checkHolder(tenant, requirement, token, nowMs, bearer.certificate) ?? token);
  if (facts.assumedToken !== undefined) return holds(readAssumedToken(tenant, facts.assumedToken, nowMs));

  const credentials = bearerCredentials(facts);
  if (typeof credentials !== 'string') return credentials;
  const known = tenant.tokens.get(credentials, nowMs);
  if (known !== undefined && isCurrent(tenant, known)) return holds(known);
  if (!COMPACT.test(credentials)) {
    return deny('token', 'token-malformed', 'The bearer token is not a JWS in compact form.');
  }
  const verifying = verifyToken(tenant, credentials, { ...bearer, nowMs, isNew: facts.again !== true });
  return verifying.then((token) => {
    if (isDenial(token)) return token;
    tenant.tokens.put(credentials, token, nowMs);
    const held = holds(token);
    return isDenial(held) ? { ...held, issuer: token.issuer } : held;
  });
}

/** The credentials of `Authorization: Bearer` (RFC 6750 §2.1), the only way to present a token. */
function bearerCredentials(facts: Facts): string | Denial {
  const values = fieldValues(facts.head.fields, 'authorization');
  const [value = ''] = values;
  if (values.length > 1) return deny('token', 'token-malformed', 'Authorization is repeated.');
  if (value.slice(0, SCHEME.length).toLowerCase() !== SCHEME) {
    return deny('token', 'token-missing', 'A bearer token is required.', { rule: 'require' });
  }
  if (value.length > SCHEME.length + MAX_CHARACTERS)
    return deny('token', 'token-malformed', 'The bearer token is too long.');
  return value.slice(SCHEME.length);
}

/** Whether the issuer still has the keys that verified the token. */
function isCurrent(tenant: Tenant, token: VerifiedToken): boolean {
  const issuer = tenant.issuers.find((each) => each.name === token.issuer);
  return issuer?.keys.version === token.keysVersion;
}

function checkHolder(
  tenant: Tenant,
  requirement: Requirement,
  token: VerifiedToken,
  nowMs: number,
  certificate: VerifiedCertificate | undefined,
): Denial | undefined {
  const issuer = tenant.issuers.find((each) => each.name === token.issuer);
  if (issuer === undefined) return deny('token', 'token-invalid', 'The issuer of the token is not accepted.');
  const binding = requirement.binding ?? issuer.binding;
  return (
    checkTimes(token, issuer, nowMs) ??
    checkBinding(binding, token, certificate) ??
    checkRevocation(tenant, token, certificate)
  );
}

function checkRevocation(
  { revocation }: Tenant,
  token: VerifiedToken,
  certificate: VerifiedCertificate | undefined,
): Denial | undefined {
  const cause = revocation.tokens.objection(token, certificate);
  return cause === undefined
    ? undefined
    : deny('token', 'token-revoked', 'The token was revoked.', { cause, rule: 'tenant.revocation.tokens' });
}

/** RFC 8705 §3: only the holder of the certificate may use a bound token, whatever the policy says. */
function checkBinding(
  binding: TokenBinding,
  token: VerifiedToken,
  certificate: VerifiedCertificate | undefined,
): Denial | undefined {
  if (token.thumbprint === undefined) {
    if (binding !== 'required') return undefined;
    return deny('token', 'token-unbound', 'The token must be bound to the client certificate.', {
      rule: 'require.binding',
    });
  }
  if (certificate?.thumbprint === token.thumbprint) return undefined;
  return deny('token', 'token-unbound', 'The token is bound to another certificate.');
}
