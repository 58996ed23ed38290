/** The identities one data plane wants: each is sent once, and again whenever it changes. */

import type { AboutParcel, StoreName } from './messages.ts';
import type { Parcel } from './parcel.ts';

export interface FoundIdentity {
  readonly digest: string;
  pack(): Parcel;
}

/** Provides one identity. */
export interface IdentitySupply {
  /** Returns the identity in force without reading its files. */
  peek(): FoundIdentity | undefined;
  /** Reads the identity if it was not read before. Resolves to undefined if its files cannot be used. */
  read(): Promise<FoundIdentity | undefined>;
}

/** A parcel and its description. */
export interface Outgoing {
  readonly about: AboutParcel;
  readonly parcel: Parcel;
}

/** Limit on pending answers; beyond it, requests for unknown identities get none. */
const MAX_IN_VAIN = 1000;
const NOTHING: Parcel = { head: undefined, columns: [] };

export class IdentityDesk {
  readonly #wanted = new Map<string, Wanted>();
  readonly #due = new Set<Wanted>();
  readonly #find: (store: StoreName, label: string, key: string) => IdentitySupply | undefined;
  readonly #onDue: () => void;

  /** `find` returns undefined for what may not be asked for; `onDue` is called when there is something to send. */
  constructor(
    find: (store: StoreName, label: string, key: string) => IdentitySupply | undefined,
    onDue: () => void,
  ) {
    this.#find = find;
    this.#onDue = onDue;
  }

  want(store: StoreName, label: string, key: string): void {
    const id = idOf(store, key);
    const supply = this.#find(store, label, key);
    const wanted = this.#wanted.get(id) ?? { store, key, supply, found: undefined, told: undefined };
    // Requests for what may not be asked for are not remembered.
    if (supply !== undefined) this.#wanted.set(id, wanted);
    else if (this.#due.size >= MAX_IN_VAIN) return;
    void this.#read(wanted);
  }

  release(store: StoreName, key: string): void {
    this.#wanted.delete(idOf(store, key));
  }

  has(store: StoreName, key: string): boolean {
    return this.#wanted.has(idOf(store, key));
  }

  /** Forgets everything, and returns what was wanted. */
  clear(): readonly Pick<Wanted, 'store' | 'key'>[] {
    const all = [...this.#wanted.values()];
    this.#wanted.clear();
    this.#due.clear();
    return all;
  }

  /** Looks for identities that differ from what was sent last. */
  look(): void {
    for (const wanted of this.#wanted.values()) {
      const found = wanted.supply?.peek();
      if (found === undefined || found.digest === wanted.told) continue;
      wanted.found = found;
      this.#due.add(wanted);
    }
  }

  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** The identities to send, each in the state it has when its turn comes. */
  *outgoing(): Generator<Outgoing, void, void> {
    for (const wanted of this.#due) {
      this.#due.delete(wanted);
      const { store, key, found } = wanted;
      wanted.told = found?.digest;
      wanted.found = undefined;
      const about = { kind: 'identity', store, key, found: found !== undefined } as const;
      yield { about, parcel: found?.pack() ?? NOTHING };
    }
  }

  async #read(wanted: Wanted): Promise<void> {
    const found = await wanted.supply?.read().catch(() => undefined);
    // `look` may already have sent it.
    if (found !== undefined && found.digest === wanted.told) return;
    wanted.found = found;
    this.#due.add(wanted);
    this.#onDue();
  }
}

interface Wanted {
  readonly store: StoreName;
  readonly key: string;
  readonly supply: IdentitySupply | undefined;
  /** To be sent. */
  found: FoundIdentity | undefined;
  /** The digest of what was sent last. */
  told: string | undefined;
}

function idOf(store: StoreName, key: string): string {
  return `${store} ${key}`;
}
