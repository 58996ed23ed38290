/** A gateway's share of a limit, for when gateways cannot ask how much the others use. */

import type { Rate } from '../core/units.ts';
import type { Quotas } from '../policy/policy.ts';

/** The limits of one of `gateways` gateways; each may run at least one request at a time. */
export function gatewayShare({ requests, concurrent, bytes }: Quotas, gateways: number): Quotas {
  return {
    ...(requests !== undefined && { requests: rateShare(requests, gateways) }),
    ...(concurrent !== undefined && { concurrent: Math.max(1, Math.floor(concurrent / gateways)) }),
    ...(bytes !== undefined && { bytes: rateShare(bytes, gateways) }),
  };
}

/** A share below one becomes one in a longer time: 1/h among three gateways is one in three hours each. */
export function rateShare({ count, perMs }: Rate, gateways: number): Rate {
  return count >= gateways
    ? { count: count / gateways, perMs }
    : { count: 1, perMs: (perMs * gateways) / count };
}
