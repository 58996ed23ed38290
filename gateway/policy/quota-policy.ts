/** The `RateLimit-Policy` field of a route (draft-ietf-httpapi-ratelimit-headers-11 §3), formatted once per policy. */

import type { Rate } from '../core/units.ts';
import type { LimitName, Quotas } from './policy.ts';

/** Returns a policy name that differs between routes and is unlikely to clash with one of the node's. */
export function quotaName(route: string, limit: LimitName): string {
  return `"${route}.${limit}"`;
}

/** Returns the field value; units are those of the draft's registry (§10.3), where `requests` is the default. */
export function quotaPolicy(route: string, { requests, concurrent, bytes }: Quotas): string {
  const items: string[] = [];
  if (requests !== undefined) items.push(quotaName(route, 'requests') + quotaAndWindow(requests));
  if (concurrent !== undefined)
    items.push(`${quotaName(route, 'concurrent')};q=${concurrent};qu="concurrent-requests"`);
  if (bytes !== undefined)
    items.push(`${quotaName(route, 'bytes')}${quotaAndWindow(bytes)};qu="content-bytes"`);
  return items.join(', ');
}

/** The window is in whole seconds, since the shortest unit of a rate is the second. */
function quotaAndWindow({ count, perMs }: Rate): string {
  return `;q=${count};w=${perMs / 1000}`;
}
