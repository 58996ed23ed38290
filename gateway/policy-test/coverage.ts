/** Records which routes admitted a request and which rules refused one. */

import { isDenial } from '../core/denial.ts';
import type { Decided } from '../explain/rehearsal.ts';
import type { Policy, Route, Tenant } from '../policy/policy.ts';

/** A route or rule that a case can cover. */
export interface CoverageItem {
  /** Completes "no case shows that …". */
  readonly words: string;
  /** `file:line`. */
  readonly place: string;
  readonly covered: boolean;
}

interface Item {
  readonly key: string;
  readonly words: string;
  readonly place: string;
}

export class Coverage {
  readonly #items: readonly Item[];
  readonly #seen = new Set<string>();

  constructor({ tenants }: Policy) {
    this.#items = [...tenants.values()].flatMap(itemsOf);
  }

  add({ decision, trail: { tenant, route } }: Decided): void {
    const refused = isDenial(decision) ? decision : decision.shadowed;
    if (tenant === undefined) return;
    if (refused === undefined) this.#seen.add(`${tenant.name} ${route?.name}`);
    else if (refused.rule?.startsWith('tenant.')) this.#seen.add(`${tenant.name} ${refused.rule}`);
    else this.#seen.add(`${tenant.name} ${route?.name} ${refused.rule}`);
  }

  get items(): readonly CoverageItem[] {
    return this.#items.map(({ key, words, place }) => ({ words, place, covered: this.#seen.has(key) }));
  }
}

function itemsOf(tenant: Tenant): readonly Item[] {
  const { addresses, places, name } = tenant;
  const ofTenant = [
    ...(addresses.allow === undefined ? [] : ['allow']),
    ...(addresses.deny === undefined ? [] : ['deny']),
  ].map((rule) => ({
    key: `${name} tenant.${rule}`,
    words: `${rule} of tenant ${name} refuses`,
    place: places.of(rule),
  }));
  return [...ofTenant, ...tenant.routes.entries.flatMap(({ route }) => itemsOfRoute(route))];
}

function itemsOfRoute(route: Route): readonly Item[] {
  const { name, tenant, places } = route;
  const admits = { key: `${tenant} ${name}`, words: `route ${name} admits`, place: places.of('match') };
  const refuses = rulesOf(route).map((rule) => ({
    key: `${tenant} ${name} ${rule}`,
    words: `${rule} of route ${name} refuses`,
    place: places.of(rule),
  }));
  return [admits, ...refuses];
}

/** Names of the rules of a route that can refuse, as in `Denial.rule`. */
function rulesOf({ require, addresses, certificateNames, stream, upgrade }: Route): readonly string[] {
  return [
    ...(addresses === undefined ? [] : ['allow']),
    ...(certificateNames === undefined ? [] : ['certificate.names']),
    ...(require === undefined ? [] : ['require', 'require.scope']),
    ...(require?.binding === 'required' ? ['require.binding'] : []),
    ...[...(require?.claims.keys() ?? [])].map((claim) => `require.claims.${claim}`),
    ...(require?.maxEpochs === undefined ? [] : ['require.maxEpochs']),
    ...(upgrade === undefined ? [] : ['upgrade']),
    ...(stream?.maxBytes === undefined ? [] : ['stream.maxBytes']),
    ...(stream?.format === undefined ? [] : ['stream.format']),
  ];
}
