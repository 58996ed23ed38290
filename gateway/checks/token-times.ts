/** Whether a token is valid at this moment, with the clock skew of its issuer allowed for. */

import { type Denial, deny } from '../core/denial.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { Issuer } from '../policy/policy.ts';

/** Returns undefined if it is. At `exp` it has expired (RFC 7519 §4.1.4); at `nbf` it is valid already (§4.1.5). */
export function checkTimes(
  { expMs, nbfMs }: Pick<VerifiedToken, 'expMs' | 'nbfMs'>,
  { clockSkewMs }: Pick<Issuer, 'clockSkewMs'>,
  nowMs: number,
): Denial | undefined {
  if (nowMs >= expMs + clockSkewMs) return deny('token', 'token-expired', 'The token has expired.');
  if (nowMs < nbfMs - clockSkewMs) return deny('token', 'token-invalid', 'The token is not valid yet.');
  return undefined;
}
