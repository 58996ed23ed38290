/** Step 7: do the claims of the token match the path? */

import { type Denial, deny } from '../core/denial.ts';
import type { RouteParams } from '../core/route-table.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import type { ClaimTemplate, Requirement } from '../policy/policy.ts';

/** The path parameters a token may be limited to one value of, with the member of the token that limits them. */
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
 * Returns undefined if every claim the route requires is, or lists, one of the accepted values, and `max_epochs` is
 * within the limit. A token for one model or version is refused for any other, whether or not the route requires it.
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
  const detail = 'The claim max_epochs of the token is above the limit of this route.';
  return deny('claims', 'claim-denied', detail, { rule: 'require.maxEpochs' });
}

function mismatch(name: string): Denial {
  const detail = `The claim ${name} of the token does not match this request.`;
  return deny('claims', 'claim-denied', detail, { rule: `require.claims.${name}` });
}

/** A claim may list a literal value among others, but must be equal to a path parameter. */
function says(value: unknown, template: ClaimTemplate, params: RouteParams): boolean {
  if ('param' in template) {
    const asked = params[template.param];
    return asked !== undefined && textOf(value) === asked;
  }
  return [value].flat().some((each) => textOf(each) === template.literal);
}

/** Strings unchanged, integers in decimal, booleans as `true` and `false`; any other value matches nothing. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return Number.isSafeInteger(value) || typeof value === 'boolean' ? String(value) : undefined;
}
