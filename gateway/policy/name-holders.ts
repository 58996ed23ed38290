/** Which tenant holds a server name when the files of several ask for it. */

import type { ServerIdentity } from './certificates.ts';
import type { PolicyFault } from './fault.ts';
import type { Policy, Tenant } from './policy.ts';
import type { Places } from './yaml-file.ts';

/** A tenant with what its server names show. */
export interface TenantVersion {
  readonly tenant: Tenant;
  readonly identities: readonly ServerIdentity[];
}

/** A tenant's file as it was read now, and as it was in force before. */
export interface TenantReading {
  readonly places: Places;
  /** Absent when it has faults. */
  readonly read?: TenantVersion;
  readonly lastGood?: TenantVersion;
}

/**
 * The versions to put in force, no server name in two of them. Who had a name keeps it, whoever comes first has a new
 * one; a tenant that asks for another's stays as it was.
 */
export function settleNames(
  readings: readonly TenantReading[],
  previous: Policy | undefined,
  faults: PolicyFault[],
): readonly TenantVersion[] {
  const versions = readings.map(({ read, lastGood }) => read ?? lastGood);
  // A version that gives way may bring back names another has taken, so all are looked at again. Each gives way once:
  // the last good versions had no name in common.
  for (let index = 0; index < readings.length; index += 1) {
    const reading = readings[index];
    const found = reading === undefined ? [] : takenNames(reading.places, versions, index, previous);
    if (found.length === 0) continue;
    faults.push(...found);
    versions[index] = reading?.lastGood;
    index = -1;
  }
  return versions.filter((version) => version !== undefined);
}

function takenNames(
  places: Places,
  versions: readonly (TenantVersion | undefined)[],
  index: number,
  previous: Policy | undefined,
): PolicyFault[] {
  const { tenant } = versions[index] ?? {};
  if (tenant === undefined) return [];
  return tenant.serverNames.flatMap((name, position) => {
    const holder = holderOf(name, versions, previous);
    if (holder === undefined || holder === tenant) return [];
    return [places.at(['serverNames', position], `tenant ${holder.name} has ${name} already`)];
  });
}

function holderOf(
  name: string,
  versions: readonly (TenantVersion | undefined)[],
  previous: Policy | undefined,
): Tenant | undefined {
  const asking = versions.flatMap((version) =>
    version?.tenant.serverNames.includes(name) ? [version.tenant] : [],
  );
  const before = previous?.serverNames.get(name)?.name;
  return asking.find((tenant) => tenant.name === before) ?? asking[0];
}
