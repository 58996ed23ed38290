/** The identities one data plane wants: each answered once, and again whenever it is another. */

import type { AboutParcel, StoreName } from './messages.ts';
import type { Parcel } from './parcel.ts';

/** An identity that is there. */
export interface FoundIdentity {
  readonly digest: string;
  pack(): Parcel;
}

/** Where an identity is had from. */
export interface IdentitySupply {
  /** What is in force, without asking for it. */
  peek(): FoundIdentity | undefined;
  /** Reads it, if it was not read before; nothing when its files cannot be used. */
  read(): Promise<FoundIdentity | undefined>;
}

/** A parcel, and what it is. */
export interface Outgoing {
  readonly about: AboutParcel;
  readonly parcel: Parcel;
}

/** Answers that are due, and beyond which nobody is told any more that he asked in vain. */
const MAX_IN_VAIN = 1000;
const NOTHING: Parcel = { head: undefined, columns: [] };

export class IdentityDesk {
  readonly #wanted = new Map<string, Wanted>();
  readonly #due = new Set<Wanted>();
  readonly #find: (store: StoreName, label: string, key: string) => IdentitySupply | undefined;
  readonly #onDue: () => void;

  /** `find` answers for what may be asked for; `onDue` is called when there is something to be sent. */
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
    // What nobody may ask for is not remembered either.
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

  /** What is wanted, and then nothing any more. */
  clear(): readonly Pick<Wanted, 'store' | 'key'>[] {
    const all = [...this.#wanted.values()];
    this.#wanted.clear();
    this.#due.clear();
    return all;
  }

  /** Looks for identities that are others than was told. */
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

  /** What has to be sent; each is taken as it is when its turn comes. */
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
    // A look may have come first.
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
  /** To be told. */
  found: FoundIdentity | undefined;
  /** The digest of what was told last. */
  told: string | undefined;
}

function idOf(store: StoreName, key: string): string {
  return `${store} ${key}`;
}
