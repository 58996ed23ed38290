/** Step 6: does the token grant the scope of the route, for the model of the path? */

import { type Denial, deny } from '../core/denial.ts';
import { grants } from '../core/scope.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { Requirement, Tenant } from '../policy/policy.ts';

/** Returns undefined if it does. `model` is the path's `{model_id}`, if it has one. */
export function checkScope(
  tenant: Tenant,
  requirement: Requirement,
  token: VerifiedToken,
  model: string | undefined,
): Denial | undefined {
  const { scope } = requirement;
  if (grants(token.grants, tenant.inclusions, scope, model)) return undefined;
  const detail = `The token does not grant the scope ${scope} here.`;
  return deny('scope', 'insufficient-scope', detail, { scope, rule: 'require.scope' });
}
