/** The RateLimit fields, which show a caller the limits of its route (draft-ietf-httpapi-ratelimit-headers-11). */

import type { Rate } from '../core/units.ts';
import type { Admission } from '../decide.ts';
import type { LimitLease, LimitRefusal, LimitsLeft } from '../limits/limits-backend.ts';
import type { RouteLimits } from '../policy/policy.ts';
import { quotaName } from '../policy/quota-policy.ts';
import { CRLF } from './framing.ts';

/**
 * The lines for the answer to an admitted request: what its route allows, and what is left. A node may send both fields
 * too: they are lists, to which ours add members (§3, §4). Empty for a route without limits.
 */
export function quotaLines(admission: Admission, lease: LimitLease | undefined): string {
  const { route } = admission;
  if (route.limits === undefined || lease === undefined) return '';
  const items = leftItems(route.name, route.limits, lease.left, partitionKey(admission));
  return policyLine(route.limits) + (items === '' ? '' : `RateLimit: ${items}${CRLF}`);
}

/** The lines for a refusal: what the route allows, and the limit that is used up until `Retry-After`. */
export function refusalLines(
  admission: Admission,
  { limit, left, backend }: LimitRefusal,
  waitS: number,
): string {
  const { route } = admission;
  if (route.limits === undefined) return '';
  if (backend === 'none') return policyLine(route.limits);
  const item = `${quotaName(route.name, limit)};r=${left};t=${waitS}${partitionKey(admission)}`;
  return `${policyLine(route.limits)}RateLimit: ${item}${CRLF}`;
}

function policyLine({ quotaPolicy }: RouteLimits): string {
  return `RateLimit-Policy: ${quotaPolicy}${CRLF}`;
}

function leftItems(route: string, limits: RouteLimits, left: LimitsLeft, key: string): string {
  const items: string[] = [];
  if (limits.requests !== undefined && left.requests !== undefined)
    items.push(rateItem(quotaName(route, 'requests'), limits.requests, left.requests) + key);
  if (left.concurrent !== undefined)
    items.push(`${quotaName(route, 'concurrent')};r=${left.concurrent}${key}`);
  if (limits.bytes !== undefined && left.bytes !== undefined)
    items.push(rateItem(quotaName(route, 'bytes'), limits.bytes, left.bytes) + key);
  return items.join(', ');
}

/**
 * The window is the time the rate takes to grant what is left: with 30 left at 60 a minute, 30 s. A caller that spreads
 * the rest over it is never refused and never exceeds the rate (§8.5 warns of windows that end with the refill).
 */
function rateItem(name: string, { count, perMs }: Rate, left: number): string {
  return `${name};r=${left};t=${Math.max(1, Math.ceil((left * perMs) / count / 1000))}`;
}

/** For limits per model, the model id as bytes (§4.1.3). The other limits need no key. */
function partitionKey({ route, params }: Admission): string {
  if (route.limits?.per !== 'model') return '';
  return `;pk=:${Buffer.from(params['model_id'] ?? '').toString('base64')}:`;
}
