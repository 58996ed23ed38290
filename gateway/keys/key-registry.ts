/** The fetched key sets by issuer, address and settings, so that a reload keeps the last good keys. */

import { type KeySet, RemoteKeySet, type RemoteKeySettings } from './key-set.ts';

/** Called about the keys of an issuer, given by its name in the policy. */
export interface KeyWatcher {
  /** A fetch ended; `fault` says what went wrong, if anything. */
  onFetch(issuer: string, fault: string | undefined): void;
  /** The keys in force changed, or expired. */
  onChange(issuer: string): void;
}

export interface RemoteKeys {
  /** The keys of a tenant's issuer. */
  remote(tenant: string, issuer: string, url: URL, settings: RemoteKeySettings): KeySet;
}

/** Unique per key set. */
export function keySetId(tenant: string, issuer: string, url: URL, settings: RemoteKeySettings): string {
  return JSON.stringify([tenant, issuer, url.href, settings]);
}

export class KeyRegistry implements RemoteKeys {
  readonly #follows: boolean;
  readonly #watcher: KeyWatcher | undefined;
  readonly #sets = new Map<string, RemoteKeySet>();

  /** `once`: keys are fetched only when a token needs them, never on a schedule. */
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

  /** All sets, by `keySetId`. */
  get sets(): ReadonlyMap<string, RemoteKeySet> {
    return this.#sets;
  }

  /** Closes every set that is not among these. */
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
