/** Templates for the claim values that a route requires. */

import type { ClaimTemplate } from './policy.ts';

/** Parses `{name}` as a path parameter and anything else as a literal. */
export function readTemplate(value: string | number | boolean): ClaimTemplate {
  const text = String(value);
  const [, param] = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(text) ?? [];
  return param === undefined ? { literal: text } : { param };
}
