/** Step 3: is that address allowed, by the tenant and by the route? */

import type { Address } from '../core/address.ts';
import { type Denial, deny } from '../core/denial.ts';
import type { AddressRules, Route, Tenant } from '../policy/policy.ts';

/** Nothing if the address may call; both the tenant's rules and the route's must let it. */
export function checkAllowlist(tenant: Tenant, route: Route, address: Address): Denial | undefined {
  const cause =
    refusedBy(tenant.addresses, address) ?? (route.addresses && refusedBy(route.addresses, address));
  if (cause === undefined) return undefined;
  return deny('allowlist', 'address-denied', 'The client address is not on the allowlist.', { cause });
}

/** Why the rules refuse the address: the deny entry that holds it, or that no allow entry does. Deny wins. */
function refusedBy(rules: AddressRules, address: Address): string | undefined {
  const denied = rules.deny?.lookup(address);
  if (denied !== undefined) return `${denied.prefix} of list ${denied.list} (${denied.place})`;
  if (rules.allow === undefined || rules.allow.contains(address)) return undefined;
  return 'no list holds it';
}
