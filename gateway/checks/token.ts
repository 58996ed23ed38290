/** Step 5: is there a token, is it genuine and current, and does it belong to this certificate? */

import { type Denial, deny } from '../core/denial.ts';
import type { Facts, VerifiedCertificate } from '../core/facts.ts';
import { fieldValues } from '../core/headers.ts';
import type { Issuer, Requirement, Tenant } from '../policy/policy.ts';
import type { VerifiedToken } from '../policy/token-memory.ts';
import { verifyToken } from './verify-token.ts';

/** A token of more is not looked at. */
const TOKEN_BYTES = 8192;
const BEARER = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i;

/**
 * The token of the request. A token seen before costs one look-up and no promise; one not seen before is verified
 * and remembered. Times and binding are checked either way.
 */
export function checkToken(
  tenant: Tenant,
  requirement: Requirement,
  facts: Facts,
  certificate: VerifiedCertificate | undefined,
): VerifiedToken | Denial | Promise<VerifiedToken | Denial> {
  const text = bearerToken(facts);
  if (typeof text !== 'string') return text;
  const known = tenant.tokens.get(text, facts.nowMs);
  if (known !== undefined) return checkHolder(tenant, requirement, known, facts.nowMs, certificate);
  return verifyToken(tenant, text, facts.nowMs).then((verified) => {
    if ('kind' in verified) return verified;
    tenant.tokens.put(text, verified, facts.nowMs);
    return checkHolder(tenant, requirement, verified, facts.nowMs, certificate);
  });
}

/** The token text of `Authorization: Bearer` (RFC 6750 §2.1); the only way to bring one. */
function bearerToken(facts: Facts): string | Denial {
  const [value] = fieldValues(facts.head.fields, 'authorization');
  if (value === undefined) return deny('token', 'token-missing', 'A bearer token is needed here.');
  if (value.length > TOKEN_BYTES) return deny('token', 'token-malformed', 'The token is too long.');
  const [, text] = BEARER.exec(value) ?? [];
  return text ?? deny('token', 'token-malformed', 'Authorization holds no bearer token in compact form.');
}

function checkHolder(
  tenant: Tenant,
  requirement: Requirement,
  token: VerifiedToken,
  nowMs: number,
  certificate: VerifiedCertificate | undefined,
): VerifiedToken | Denial {
  const issuer = tenant.issuers.find((each) => each.name === token.issuer);
  if (issuer === undefined) return deny('token', 'token-invalid', 'The issuer of the token is not accepted.');
  if (nowMs >= token.expMs + issuer.clockSkewMs) return deny('token', 'token-expired', 'The token has expired.');
  if (nowMs < token.nbfMs - issuer.clockSkewMs) return deny('token', 'token-invalid', 'The token is not valid yet.');
  return checkBinding(requirement.binding ?? issuer.binding, token, certificate);
}

/** RFC 8705 §3: a bound token is for the holder of that certificate alone, whatever the policy says. */
function checkBinding(
  binding: Issuer['binding'],
  token: VerifiedToken,
  certificate: VerifiedCertificate | undefined,
): VerifiedToken | Denial {
  if (token.thumbprint === undefined) {
    if (binding !== 'required') return token;
    return deny('token', 'token-unbound', 'The token must be bound to the client certificate.');
  }
  if (certificate?.thumbprint === token.thumbprint) return token;
  return deny('token', 'token-unbound', 'The token is bound to another certificate.');
}
