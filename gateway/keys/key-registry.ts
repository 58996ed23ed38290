/** The key sets that are fetched, by the issuer and address they are for, so that a reload keeps the last good keys. */

import { type KeySet, RemoteKeySet, type RemoteKeySettings } from './key-set.ts';

/** Hears of the keys of an issuer, by its name in the policy. */
export interface KeyWatcher {
  /** A fetch ended: nothing, or what went wrong. */
  onFetch(issuer: string, fault: string | undefined): void;
  /** Other keys are in force, or none any more. */
  onChange(issuer: string): void;
}

export interface RemoteKeys {
  /** The keys of a tenant's issuer, fetched from now on. */
  remote(tenant: string, issuer: string, url: URL, settings: RemoteKeySettings): KeySet;
}

/** Unlike that of every other set. */
export function keySetId(tenant: string, issuer: string, url: URL, settings: RemoteKeySettings): string {
  return JSON.stringify([tenant, issuer, url.href, settings]);
}

export class KeyRegistry implements RemoteKeys {
  readonly #follows: boolean;
  readonly #watcher: KeyWatcher | undefined;
  readonly #sets = new Map<string, RemoteKeySet>();

  /** `once`: nothing is fetched before a token asks for it, and nothing again for the time alone. */
  constructor(mode: 'follow' | 'once', watcher: KeyWatcher | undefined) {
    this.#follows = mode === 'follow';
    this.#watcher = watcher;
  }

  remote(tenant: string, issuer: string, url: URL, settings: RemoteKeySettings): KeySet {
    const key = keySetId(tenant, issuer, url, settings);
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

  /** The sets there are, by `keySetId`. */
  get sets(): ReadonlyMap<string, RemoteKeySet> {
    return this.#sets;
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
