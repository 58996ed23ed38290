/** Decides which tenant gets a server name that several claim. */

import type { PolicyFault } from '../core/fault.ts';
import type { Places } from './places.ts';
import type { Policy, Tenant } from './policy.ts';

/** A tenant as read now, and as it was in force before. */
export interface TenantReading {
  /** `<tenant>.yaml`. */
  readonly fileName: string;
  readonly origin: Tenant['origin'];
  /** A function, because an unchanged text is parsed only to place a fault in it. */
  readonly places: () => Places;
  /** Absent if the text has faults. */
  readonly read?: Tenant;
  readonly lastGood?: Tenant;
  readonly faults: PolicyFault[];
  /** What is legal but probably unintended. */
  readonly warnings?: readonly PolicyFault[];
}

/**
 * Returns the tenants to put in force; no two share a server name. A tenant keeps the names it had; a new name goes to
 * the first that claims it. A tenant that claims another's name gets a fault and stays as it was.
 */
export function settleNames(
  readings: readonly TenantReading[],
  previous: Policy | undefined,
): readonly Tenant[] {
  const tenants = readings.map(({ read, lastGood }) => read ?? lastGood);
  // A tenant that falls back may claim names that another has taken meanwhile, so all are checked again. Each falls
  // back at most once, since the last good ones share no names.
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
    return [
      places().at(['serverNames', position], `server name ${name} already belongs to tenant ${holder.name}`),
    ];
  });
}
