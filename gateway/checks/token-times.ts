/** Whether a token is valid at this moment, give or take the clock skew of its issuer. */

import { type Denial, deny } from '../core/denial.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { Issuer } from '../policy/policy.ts';

/** Nothing if it is: `exp` itself is too late (RFC 7519 §4.1.4), `nbf` itself is not too early (§4.1.5). */
export function checkTimes(
  { expMs, nbfMs }: Pick<VerifiedToken, 'expMs' | 'nbfMs'>,
  { clockSkewMs }: Pick<Issuer, 'clockSkewMs'>,
  nowMs: number,
): Denial | undefined {
  if (nowMs >= expMs + clockSkewMs) return deny('token', 'token-expired', 'The token has expired.');
  if (nowMs < nbfMs - clockSkewMs) return deny('token', 'token-invalid', 'The token is not valid yet.');
  return undefined;
}
