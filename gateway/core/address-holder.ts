/** Who an address stands for where callers are counted by their address. */

import type { Address } from './address.ts';

/** Whoever has one IPv6 address has the 2^64 of its subnet (RFC 4291 §2.5.4): the subnet counts as one address. */
export function holderOf(address: Address): string {
  return address.family === 4 ? address.text : `${address.first}:${address.second}`;
}
