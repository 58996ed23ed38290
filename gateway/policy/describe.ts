/** Describes the policy in force for the admin listener and the metrics. */

import { formatFault, type PolicyFault } from '../core/fault.ts';
import type { EtcdState } from './etcd-tenants.ts';
import type { Policy, Tenant } from './policy.ts';

/** Returns the body of `/policy`. */
export function describePolicy(
  { generation, digest, loadedAtMs, tenants }: Policy,
  etcd: EtcdState | undefined,
  faults: readonly PolicyFault[],
): object {
  return {
    generation,
    digest,
    loaded_at: new Date(loadedAtMs).toISOString(),
    ...(etcd !== undefined && {
      etcd: { place: etcd.place, revision: etcd.revision, current: etcd.isRead && etcd.fault === undefined },
    }),
    tenants: [...tenants.values()].map(({ name, origin, serverNames, routes }) => ({
      name,
      origin,
      server_names: serverNames,
      routes: routes.entries.map(({ route }) => route.name),
    })),
    faults: faults.map(formatFault),
  };
}

export function describeLists({ name: tenant, lists }: Tenant) {
  return [...lists.values()].map(({ name: list, parts }) => ({
    tenant,
    list,
    prefixes: parts.reduce((sum, { contents }) => sum + (contents?.tree.size ?? 0), 0),
    isCurrent: parts.every((part) => part.isCurrent),
  }));
}
