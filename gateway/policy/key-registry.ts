/** The key sets that are fetched, by the issuer and address they are for, so that a reload keeps the last good keys. */

import { type KeySet, RemoteKeySet, type RemoteKeySettings } from './key-set.ts';

/** Hears of the keys of an issuer, by its name in the policy. */
export interface KeyWatcher {
  /** A fetch ended: nothing, or what went wrong. */
  onFetch(issuer: string, fault: string | undefined): void;
  /** Other keys are in force, or none any more. */
  onChange(issuer: string): void;
}

export class KeyRegistry {
  readonly #follows: boolean;
  readonly #watcher: KeyWatcher | undefined;
  readonly #sets = new Map<string, RemoteKeySet>();

  /** `once`: nothing is fetched before a token asks for it, and nothing again for the time alone. */
  constructor(mode: 'follow' | 'once', watcher: KeyWatcher | undefined) {
    this.#follows = mode === 'follow';
    this.#watcher = watcher;
  }

  /** The keys of a tenant's issuer, fetched from now on. */
  remote(tenant: string, issuer: string, url: URL, settings: RemoteKeySettings): KeySet {
    const key = JSON.stringify([tenant, issuer, url.href, settings]);
    const known = this.#sets.get(key);
    if (known !== undefined) return known;
    const set = new RemoteKeySet(url, {
      ...settings,
      onFetch: (fault) => this.#watcher?.onFetch(issuer, fault),
      onChange: () => this.#watcher?.onChange(issuer),
    });
    this.#sets.set(key, set);
    if (this.#follows) set.follow();
    return set;
  }

  /** Ends every set that is not among these. */
  retain(sets: ReadonlySet<KeySet>): void {
    for (const [key, set] of this.#sets) {
      if (sets.has(set)) continue;
      this.#sets.delete(key);
      set.close();
    }
  }

  close(): void {
    this.retain(new Set());
  }
}
