/** Says in time that a certificate or a revocation list ends: 30, 7 and 1 days before, once each. */

import type { ServerIdentity } from './server-identity.ts';

/** Something of a server name that ends. */
export interface Ending {
  readonly serverName: string;
  readonly role: 'chain' | 'clients' | 'crl';
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
export function endingsOf({ serverName, notAfterMs, clients }: ServerIdentity): readonly Ending[] {
  const endings: Ending[] = [{ serverName, role: 'chain', endsMs: notAfterMs }];
  if (clients === undefined) return endings;
  endings.push({ serverName, role: 'clients', endsMs: clients.notAfterMs });
  if (clients.nextUpdateMs !== undefined) {
    endings.push({ serverName, role: 'crl', endsMs: clients.nextUpdateMs });
  }
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
      const key = `${ending.serverName} ${ending.role} ${ending.endsMs}`;
      told.set(key, mark);
      return this.#told.get(key) === mark ? [] : [{ ...ending, daysLeft: Math.floor(left) }];
    });
    this.#told = told;
    return near;
  }
}
