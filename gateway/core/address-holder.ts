/** The key by which callers are counted per address. */

import type { Address } from './address.ts';

/** An IPv6 host can use all 2^64 addresses of its subnet (RFC 4291 §2.5.4), so the /64 counts as one address. */
export function holderOf(address: Address): string {
  return address.family === 4 ? address.text : `${address.first}:${address.second}`;
}
