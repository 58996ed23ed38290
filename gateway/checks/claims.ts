/** Step 7: do the claims of the token name what the path names? */

import { type Denial, deny } from '../core/denial.ts';
import type { RouteParams } from '../core/route-table.ts';
import type { ClaimTemplate, Requirement } from '../policy/policy.ts';
import type { VerifiedToken } from '../policy/token-memory.ts';

/** Nothing if every claim the route asks for has one of the values it may have. */
export function checkClaims(
  requirement: Requirement,
  token: VerifiedToken,
  params: RouteParams,
): Denial | undefined {
  const model = params['model_id'];
  // A token for one model is for no other, whether or not the route asks.
  if (model !== undefined && token.modelId !== undefined && token.modelId !== model)
    return mismatch('model_id');
  for (const [name, templates] of requirement.claims) {
    const value = claimText(token.claims, name);
    if (value === undefined || !templates.some((template) => expected(template, params) === value)) {
      return mismatch(name);
    }
  }
  return undefined;
}

function mismatch(name: string): Denial {
  return deny('claims', 'claim-denied', `The claim ${name} of the token does not match this request.`);
}

/** A claim as text: a string as it is, an integer in decimal; anything else matches nothing. */
function claimText(claims: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
  if (typeof value === 'string') return value;
  return Number.isSafeInteger(value) ? String(value) : undefined;
}

function expected(template: ClaimTemplate, params: RouteParams): string | undefined {
  return 'param' in template ? params[template.param] : template.literal;
}
