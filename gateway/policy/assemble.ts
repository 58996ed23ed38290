/** Tenants and settings become one policy. */

import type { Policy, Tenant } from './policy.ts';

/** The policy of these tenants, of which no two have a server name in common. */
export function policyOf(
  head: Pick<Policy, 'generation' | 'digest' | 'loadedAtMs' | 'gateway'>,
  tenants: readonly Tenant[],
): Policy {
  return Object.freeze({
    ...head,
    gateway: Object.freeze(head.gateway),
    tenants: new Map(tenants.map((tenant) => [tenant.name, tenant])),
    serverNames: new Map(
      tenants.flatMap((tenant) => tenant.serverNames.map((name) => [name, tenant] as const)),
    ),
  });
}
