/** Says in time that a certificate or a revocation list ends: 30, 7 and 1 days before, once each. */

import type { ClientIdentity, NodeIdentity } from './node-identity.ts';
import type { ServerIdentity } from './server-identity.ts';

/** Something that ends. */
export interface Ending {
  /** The server name, `tenant/upstream`, `etcd` or `redis`. */
  readonly name: string;
  /** What it is for; the last two are shown to nodes, etcd and Redis, and trusted there. */
  readonly role: 'chain' | 'clients' | 'crl' | 'node-chain' | 'node-authorities';
  readonly endsMs: number;
}

/** An ending that is near enough to be told. */
export interface NearEnding extends Ending {
  /** Whole days left; negative when it is over. */
  readonly daysLeft: number;
}

const DAY_MS = 86_400_000;
const TOLD_DAYS = [30, 7, 1] as const;

/** What ends, of one server name. */
export function serverEndings({ serverName: name, notAfterMs, clients }: ServerIdentity): readonly Ending[] {
  const endings: Ending[] = [{ name, role: 'chain', endsMs: notAfterMs }];
  if (clients === undefined) return endings;
  endings.push({ name, role: 'clients', endsMs: clients.notAfterMs });
  if (clients.nextUpdateMs !== undefined) endings.push({ name, role: 'crl', endsMs: clients.nextUpdateMs });
  return endings;
}

/** What ends, of one upstream. */
export function nodeEndings({ upstream, ...identity }: NodeIdentity): readonly Ending[] {
  return clientEndings(upstream, identity);
}

/** What ends, of what is shown to the servers of that name. */
export function clientEndings(
  name: string,
  { authorities = [], key }: Pick<ClientIdentity, 'authorities' | 'key'>,
): readonly Ending[] {
  const endings: Ending[] = [];
  if (key !== undefined) endings.push({ name, role: 'node-chain', endsMs: key.notAfterMs });
  const ends = authorities.map((each) => each.validToDate.getTime());
  if (ends.length > 0) endings.push({ name, role: 'node-authorities', endsMs: Math.min(...ends) });
  return endings;
}

/** Remembers what was told. Another end of the same thing is another ending. */
export class EndingReminder {
  #told = new Map<string, number>();

  /** Those that came within another of the marks since they were last given here. */
  remind(endings: readonly Ending[], nowMs: number): readonly NearEnding[] {
    const told = new Map<string, number>();
    const near = endings.flatMap((ending) => {
      const left = (ending.endsMs - nowMs) / DAY_MS;
      const mark = TOLD_DAYS.filter((days) => left <= days).at(-1);
      if (mark === undefined) return [];
      const key = `${ending.name} ${ending.role} ${ending.endsMs}`;
      told.set(key, mark);
      return this.#told.get(key) === mark ? [] : [{ ...ending, daysLeft: Math.floor(left) }];
    });
    this.#told = told;
    return near;
  }
}
