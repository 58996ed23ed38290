/** Says in time that a certificate or a revocation list ends: 30, 7 and 1 days before, once each. */

import type { ClientIdentity, NodeIdentity } from './node-identity.ts';
import type { ServerIdentity } from './server-identity.ts';

/** Something that ends. */
export interface Expiry {
  /** The server name, `tenant/upstream`, `etcd` or `redis`. */
  readonly name: string;
  /** What it is for; the last two are shown to nodes, etcd and Redis, and trusted there. */
  readonly role: 'chain' | 'clients' | 'crl' | 'node-chain' | 'node-authorities';
  readonly expiresMs: number;
}

/** An expiry that is near enough to be told. */
export interface NearExpiry extends Expiry {
  /** Whole days left; negative when it is over. */
  readonly daysLeft: number;
}

const DAY_MS = 86_400_000;
const TOLD_DAYS = [30, 7, 1] as const;

/** What ends, of one server name. */
export function serverExpiries({ serverName: name, notAfterMs, clients }: ServerIdentity): readonly Expiry[] {
  const expiries: Expiry[] = [{ name, role: 'chain', expiresMs: notAfterMs }];
  if (clients === undefined) return expiries;
  expiries.push({ name, role: 'clients', expiresMs: clients.notAfterMs });
  if (clients.nextUpdateMs !== undefined)
    expiries.push({ name, role: 'crl', expiresMs: clients.nextUpdateMs });
  return expiries;
}

/** What ends, of one upstream. */
export function nodeExpiries({ upstream, ...identity }: NodeIdentity): readonly Expiry[] {
  return clientExpiries(upstream, identity);
}

/** What ends, of what is shown to the servers of that name. */
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

/** Remembers what was told. Another end of the same thing is another expiry. */
export class ExpiryReminder {
  #told = new Map<string, number>();

  /** Those that came within another of the marks since they were last given here. */
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
