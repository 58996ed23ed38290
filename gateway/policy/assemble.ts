/** Assembles a policy from settings and tenants. */

import type { Policy, Tenant } from './policy.ts';

/** Returns the frozen policy of these tenants. No two of them may share a server name. */
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
