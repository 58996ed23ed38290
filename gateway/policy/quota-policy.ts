/** `RateLimit-Policy` of a route's answers (draft-ietf-httpapi-ratelimit-headers-11 §3), written when the policy is compiled. */

import type { Rate } from '../core/units.ts';
import type { LimitName, Quotas } from './policy.ts';

/** Limits of different routes are different policies, and none is taken for one of the node's. */
export function quotaName(route: string, limit: LimitName): string {
  return `"${route}.${limit}"`;
}

/** The value of the field; units as in the draft's registry (§10.3), of which requests are the default. */
export function quotaPolicy(route: string, { requests, concurrent, bytes }: Quotas): string {
  const items: string[] = [];
  if (requests !== undefined) items.push(quotaName(route, 'requests') + quotaAndWindow(requests));
  if (concurrent !== undefined)
    items.push(`${quotaName(route, 'concurrent')};q=${concurrent};qu="concurrent-requests"`);
  if (bytes !== undefined)
    items.push(`${quotaName(route, 'bytes')}${quotaAndWindow(bytes)};qu="content-bytes"`);
  return items.join(', ');
}

/** Windows are whole seconds: no rate has a shorter one. */
function quotaAndWindow({ count, perMs }: Rate): string {
  return `;q=${count};w=${perMs / 1000}`;
}
