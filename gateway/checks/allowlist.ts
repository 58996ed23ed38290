/** Step 3: is the address allowed, by the tenant and by the route? */

import { type Address, prefixAround } from '../core/address.ts';
import { type Denial, deny } from '../core/denial.ts';
import type { AddressList, AddressRules, Route, Tenant } from '../policy/policy.ts';

/** Returns undefined if both the tenant's rules and the route's allow the address. */
export function checkAllowlist(tenant: Tenant, route: Route, address: Address): Denial | undefined {
  const ofTenant = objectionTo(address, tenant.addresses);
  if (ofTenant !== undefined) return denied(`tenant.${ofTenant.rule}`, ofTenant.cause);
  const ofRoute = route.addresses && objectionTo(address, route.addresses);
  return ofRoute && denied(ofRoute.rule, ofRoute.cause);
}

function denied(rule: string, cause: string): Denial {
  return deny('allowlist', 'address-denied', 'The client address is not on the allowlist.', { cause, rule });
}

/** Why rules refuse an address. */
export interface Objection {
  readonly rule: 'allow' | 'deny';
  /** For the log. */
  readonly cause: string;
}

/** Why the rules refuse the address, if they do: a deny entry contains it, or no allow entry does. Deny wins. */
export function objectionTo(
  address: Address,
  { allow, deny: denied = [] }: AddressRules,
): Objection | undefined {
  for (const list of denied) {
    const cause = deniedBy(list, address);
    if (cause !== undefined) return { rule: 'deny', cause };
  }
  if (allow === undefined || allow.some((list) => holds(list, address))) return undefined;
  const unread = allow.flatMap(({ name, parts }) =>
    parts.filter(({ contents }) => !contents).map(() => name),
  );
  const never = unread.length === 0 ? '' : `; never read: ${unread.join(', ')}`;
  return { rule: 'allow', cause: `no list contains it${never}` };
}

/** Whether one of the parts contains the address; one that was never read contains no address. */
export function holds({ parts }: AddressList, address: Address): boolean {
  return parts.some(({ contents }) => contents?.tree.contains(address));
}

/** A deny list that was never read denies every address, so that it fails closed. */
function deniedBy({ name, parts }: AddressList, address: Address): string | undefined {
  for (const { contents, place } of parts) {
    if (contents === undefined) return `list ${name} was never read (${place})`;
    const match = contents.tree.lookup(address);
    if (match !== undefined) {
      const { text } = prefixAround(address, match.bits);
      return `${text} of list ${name} (${contents.placeOf(match.number)})`;
    }
  }
  return undefined;
}
