/** Finds certificates and revocation lists to warn of: 30, 7 and 1 days before they expire, once each. */

import type { ClientIdentity, NodeIdentity } from './node-identity.ts';
import type { ServerIdentity } from './server-identity.ts';

/** Something that expires. */
export interface Expiry {
  /** The server name, `tenant/upstream`, `etcd` or `redis`. */
  readonly name: string;
  /** Purpose; `node-` roles are presented to nodes, etcd and Redis, or are authorities trusted there. */
  readonly role: 'chain' | 'clients' | 'crl' | 'node-chain' | 'node-authorities';
  readonly expiresMs: number;
}

/** An expiry near enough for a warning. */
export interface NearExpiry extends Expiry {
  /** Whole days left; negative once expired. */
  readonly daysLeft: number;
}

const DAY_MS = 86_400_000;
const TOLD_DAYS = [30, 7, 1] as const;

/** Expiries of one server name. */
export function serverExpiries({ serverName: name, notAfterMs, clients }: ServerIdentity): readonly Expiry[] {
  const expiries: Expiry[] = [{ name, role: 'chain', expiresMs: notAfterMs }];
  if (clients === undefined) return expiries;
  expiries.push({ name, role: 'clients', expiresMs: clients.notAfterMs });
  if (clients.nextUpdateMs !== undefined)
    expiries.push({ name, role: 'crl', expiresMs: clients.nextUpdateMs });
  return expiries;
}

/** Expiries of one upstream. */
export function nodeExpiries({ upstream, ...identity }: NodeIdentity): readonly Expiry[] {
  return clientExpiries(upstream, identity);
}

/** Expiries of what is presented to the servers called `name`, and of the authorities trusted there. */
export function clientExpiries(
  name: string,
  { authorities = [], key }: Pick<ClientIdentity, 'authorities' | 'key'>,
): readonly Expiry[] {
  const expiries: Expiry[] = [];
  if (key !== undefined) expiries.push({ name, role: 'node-chain', expiresMs: key.notAfterMs });
  const ends = authorities.map((each) => each.validToDate.getTime());
  if (ends.length > 0) expiries.push({ name, role: 'node-authorities', expiresMs: Math.min(...ends) });
  return expiries;
}

/** Remembers the warnings given. A new expiry time of the same thing is a new expiry. */
export class ExpiryReminder {
  #told = new Map<string, number>();

  /** Returns those that have passed another mark since the last call. */
  remind(expiries: readonly Expiry[], nowMs: number): readonly NearExpiry[] {
    const told = new Map<string, number>();
    const near = expiries.flatMap((expiry) => {
      const left = (expiry.expiresMs - nowMs) / DAY_MS;
      const mark = TOLD_DAYS.filter((days) => left <= days).at(-1);
      if (mark === undefined) return [];
      const key = `${expiry.name} ${expiry.role} ${expiry.expiresMs}`;
      told.set(key, mark);
      return this.#told.get(key) === mark ? [] : [{ ...expiry, daysLeft: Math.floor(left) }];
    });
    this.#told = told;
    return near;
  }
}
