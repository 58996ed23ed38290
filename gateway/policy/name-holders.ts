/** Which tenant holds a server name when several ask for it. */

import type { PolicyFault } from '../core/fault.ts';
import type { Policy, Tenant } from './policy.ts';
import type { Places } from './yaml-file.ts';

/** What is written for a tenant as it was read now, and as it was in force before. */
export interface TenantReading {
  /** `<tenant>.yaml`. */
  readonly fileName: string;
  readonly origin: Tenant['origin'];
  /** A text that has not changed is not taken apart unless a fault in it has to be placed. */
  readonly places: () => Places;
  /** Absent when it has faults. */
  readonly read?: Tenant;
  readonly lastGood?: Tenant;
  readonly faults: PolicyFault[];
  /** What is allowed in the file and most likely not meant. */
  readonly warnings?: readonly PolicyFault[];
}

/**
 * The tenants to put in force, no server name in two of them. Who had a name keeps it, whoever comes first has a new
 * one; a tenant that asks for another's stays as it was, and has a fault.
 */
export function settleNames(
  readings: readonly TenantReading[],
  previous: Policy | undefined,
): readonly Tenant[] {
  const tenants = readings.map(({ read, lastGood }) => read ?? lastGood);
  // One that gives way may bring back names another has taken, so all are looked at again. Each gives way once: the
  // last good ones had no name in common.
  for (let again = true; again; ) {
    again = false;
    const holders = holdersOf(tenants, previous);
    for (const [index, { places, lastGood, faults }] of readings.entries()) {
      const taken = takenNames(places, tenants[index], holders);
      if (taken.length === 0) continue;
      faults.push(...taken);
      tenants[index] = lastGood;
      again = true;
      break;
    }
  }
  return tenants.filter((tenant) => tenant !== undefined);
}

function holdersOf(
  tenants: readonly (Tenant | undefined)[],
  previous: Policy | undefined,
): ReadonlyMap<string, Tenant> {
  const holders = new Map<string, Tenant>();
  for (const tenant of tenants) {
    for (const name of tenant?.serverNames ?? []) {
      const had = previous?.serverNames.get(name)?.name === tenant?.name;
      if (tenant !== undefined && (had || !holders.has(name))) holders.set(name, tenant);
    }
  }
  return holders;
}

function takenNames(
  places: () => Places,
  tenant: Tenant | undefined,
  holders: ReadonlyMap<string, Tenant>,
): PolicyFault[] {
  return (tenant?.serverNames ?? []).flatMap((name, position) => {
    const holder = holders.get(name);
    if (holder === undefined || holder === tenant) return [];
    return [places().at(['serverNames', position], `tenant ${holder.name} has ${name} already`)];
  });
}
