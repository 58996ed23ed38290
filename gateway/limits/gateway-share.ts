/** A gateway's part of a limit, where gateways cannot ask how much the others use. */

import type { Rate } from '../core/units.ts';
import type { Quotas } from '../policy/policy.ts';

/** The limits of one of so many gateways; one request at once everybody has. */
export function gatewayShare({ requests, concurrent, bytes }: Quotas, gateways: number): Quotas {
  return {
    ...(requests !== undefined && { requests: rateShare(requests, gateways) }),
    ...(concurrent !== undefined && { concurrent: Math.max(1, Math.floor(concurrent / gateways)) }),
    ...(bytes !== undefined && { bytes: rateShare(bytes, gateways) }),
  };
}

/** Less than one in its time is one in a longer time: 1/h of three gateways is one in three hours. */
export function rateShare({ count, perMs }: Rate, gateways: number): Rate {
  return count >= gateways
    ? { count: count / gateways, perMs }
    : { count: 1, perMs: (perMs * gateways) / count };
}
