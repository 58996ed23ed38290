/** Step 7: do the claims of the token name what the path names? */

import { type Denial, deny } from '../core/denial.ts';
import type { RouteParams } from '../core/route-table.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { ClaimTemplate, Requirement } from '../policy/policy.ts';

/** The parameters of a path that a token may be for alone, with the claim that says so. */
const NAMED_ALONE = [
  ['model_id', 'modelId'],
  ['base_version', 'baseVersion'],
  ['version', 'targetVersion'],
] as const;

const CLAIM_NAMES = {
  modelId: 'model_id',
  baseVersion: 'base_version',
  targetVersion: 'target_version',
} as const;

/**
 * Nothing if every claim the route asks for has, or lists among others, one of the values it may have. A token for one
 * model is for no other, and one for one version for no other, whether or not the route asks.
 */
export function checkClaims(
  requirement: Requirement,
  token: VerifiedToken,
  params: RouteParams,
): Denial | undefined {
  for (const [param, member] of NAMED_ALONE) {
    const asked = params[param];
    const only = token[member];
    if (asked !== undefined && only !== undefined && asked !== String(only))
      return mismatch(CLAIM_NAMES[member]);
  }
  for (const [name, templates] of requirement.claims) {
    const value = Object.hasOwn(token.claims, name) ? token.claims[name] : undefined;
    if (!templates.some((template) => says(value, template, params))) return mismatch(name);
  }
  if (requirement.maxEpochs === undefined || token.maxEpochs <= requirement.maxEpochs) return undefined;
  const detail = 'The claim max_epochs of the token is above what is taken here.';
  return deny('claims', 'claim-denied', detail, { rule: 'require.maxEpochs' });
}

function mismatch(name: string): Denial {
  const detail = `The claim ${name} of the token does not match this request.`;
  return deny('claims', 'claim-denied', detail, { rule: `require.claims.${name}` });
}

/** A written value may be one of a list; what the path names, the claim must be. */
function says(value: unknown, template: ClaimTemplate, params: RouteParams): boolean {
  if ('param' in template) {
    const asked = params[template.param];
    return asked !== undefined && textOf(value) === asked;
  }
  return [value].flat().some((each) => textOf(each) === template.literal);
}

/** A string as it is, an integer in decimal, true and false; anything else matches nothing. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return Number.isSafeInteger(value) || typeof value === 'boolean' ? String(value) : undefined;
}
