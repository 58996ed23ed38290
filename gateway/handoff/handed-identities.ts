/** The identities of a data plane: requested from the control plane on first use, and updated by it from then on. */

import type { Digested, Identities, IdentitySource } from '../certificates/identity-store.ts';
import type { DataMessage, StoreName } from './messages.ts';
import type { Parcel } from './parcel.ts';

export interface HandedIdentitiesOptions<Identity> {
  readonly store: StoreName;
  /** Limit on identities kept at once; the least recently used one is evicted. */
  readonly capacity: () => number;
  readonly unpack: (parcel: Parcel) => Identity;
  readonly send: (message: DataMessage) => void;
}

/** Delay before an identity that was not available is requested again. */
const RETRY_MS = 5000;

export class HandedIdentities<Identity extends Digested> implements Identities<Identity> {
  readonly #options: HandedIdentitiesOptions<Identity>;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry<Identity>>();
  #version = 0;
  #closed = false;

  constructor(options: HandedIdentitiesOptions<Identity>) {
    this.#options = options;
  }

  get(source: IdentitySource<Identity>): Identity | Promise<Identity | undefined> | undefined {
    const { key, label } = source;
    const known = this.#entries.get(key);
    const entry = known ?? new Entry<Identity>();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (known === undefined) this.#makeRoom();
    if (entry.identity !== undefined) return entry.identity;
    if (entry.waiting !== undefined) return entry.waiting.promise;
    if (this.#closed || performance.now() - entry.answeredMs < RETRY_MS) return undefined;
    entry.waiting = Promise.withResolvers();
    this.#options.send({ kind: 'want', store: this.#options.store, label, key });
    return entry.waiting.promise;
  }

  get version(): number {
    return this.#version;
  }

  /** Returns whether a different identity is in force now. Ignores identities released in the meantime. */
  take(key: string, parcel: Parcel | undefined): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    const identity = parcel && this.#options.unpack(parcel);
    const isOther = identity !== undefined && identity.digest !== entry.identity?.digest;
    // The same material keeps its contexts and sessions; an identity that can no longer be read stays as it was.
    if (isOther) entry.identity = identity;
    if (isOther) this.#version += 1;
    entry.answer();
    return isOther;
  }

  /** Releases every identity but these. */
  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#entries.keys()) if (!keys.has(key)) this.#drop(key);
  }

  /** Known identities stay; pending and later requests for others resolve to undefined. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) entry.answer();
  }

  #makeRoom(): void {
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.capacity()) return;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    this.#entries.get(key)?.answer();
    this.#entries.delete(key);
    this.#options.send({ kind: 'release', store: this.#options.store, key });
  }
}

class Entry<Identity> {
  identity: Identity | undefined;
  waiting: PromiseWithResolvers<Identity | undefined> | undefined;
  answeredMs = Number.NEGATIVE_INFINITY;

  answer(): void {
    this.answeredMs = performance.now();
    this.waiting?.resolve(this.identity);
    this.waiting = undefined;
  }
}
