/** What a route asks of a claim, as written. */

import type { ClaimTemplate } from './policy.ts';

/** `{name}` is a path parameter, anything else stands for itself. */
export function readTemplate(value: string | number | boolean): ClaimTemplate {
  const text = String(value);
  const [, param] = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(text) ?? [];
  return param === undefined ? { literal: text } : { param };
}
