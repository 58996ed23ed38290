/** The keys of token issuers in a data plane. The control plane fetches them, also if a token here needs newer ones. */

import { keySetId, type RemoteKeys } from '../keys/key-registry.ts';
import {
  type KeySet,
  type Keys,
  type RemoteKeySettings,
  type RenewalReason,
  readKeys,
  type Verdict,
  verifyWith,
} from '../keys/key-set.ts';
import { HandedEntries } from './handed-entries.ts';
import type { AboutKeys } from './messages.ts';

/** Asks the control plane to fetch. Resolves to the milliseconds for which asking again is useless. Never rejects. */
export type AskToRenew = (id: string, reason: RenewalReason) => Promise<number>;

export class HandedKeys implements RemoteKeys {
  readonly #ask: AskToRenew;
  readonly #sets = new HandedEntries<HandedKeySet>();

  constructor(ask: AskToRenew) {
    this.#ask = ask;
  }

  remote(tenant: string, issuer: string, url: URL, settings: RemoteKeySettings): KeySet {
    const id = keySetId(tenant, issuer, url, settings);
    return this.#sets.of(id, () => this.#newSet(id, settings));
  }

  /** Returns whether different keys are in force now. */
  take(about: AboutKeys, text: string | undefined): boolean {
    return this.#sets.tell(about.id, () => this.#newSet(about.id, about)).take(about, text);
  }

  /** Returns a function that forgets these (`HandedEntries.leave`). */
  leave(ids: readonly string[]): () => void {
    return this.#sets.leave(ids);
  }

  #newSet(id: string, { refreshMs, keepMs }: RemoteKeySettings): HandedKeySet {
    return new HandedKeySet({ refreshMs, keepMs }, (reason) => this.#ask(id, reason));
  }
}

/** Verifies like the control plane's set, whose keys it holds; that set decides when to fetch. */
class HandedKeySet implements KeySet {
  readonly #settings: RemoteKeySettings;
  readonly #ask: (reason: RenewalReason) => Promise<number>;
  readonly #questions = new Map<RenewalReason, Promise<void>>();
  /** Until then asking is useless. */
  readonly #quietUntilMs = new Map<RenewalReason, number>();
  #keys: Keys | undefined;
  #version = 0;
  #fetchedMs = Number.NEGATIVE_INFINITY;
  #fault: string | undefined;

  constructor(settings: RemoteKeySettings, ask: (reason: RenewalReason) => Promise<number>) {
    this.#settings = settings;
    this.#ask = ask;
  }

  get version(): number {
    return this.#held === undefined ? 0 : this.#version;
  }

  take({ ageMs = Number.POSITIVE_INFINITY, fault }: AboutKeys, text: string | undefined): boolean {
    const before = this.version;
    this.#fault = fault;
    this.#fetchedMs = performance.now() - ageMs;
    if (text !== undefined && text !== this.#keys?.text) {
      const keys = readKeys(text);
      if (typeof keys === 'string') throw new TypeError(keys);
      this.#keys = keys;
      this.#version += 1;
    }
    return this.version !== before;
  }

  async verify(jws: string, algorithms: readonly string[], mayFetch = true): Promise<Verdict> {
    if (mayFetch) await this.#freshen();
    const keys = this.#held;
    if (keys === undefined) return { kind: 'unavailable', cause: this.#fault ?? 'no keys were fetched' };
    const verdict = await verifyWith(keys, this.#version, jws, algorithms);
    if (!mayFetch || verdict.kind !== 'refused' || !verdict.unknownKey) return verdict;
    if (this.#isQuiet('unknown')) return verdict;
    await this.#renew('unknown');
    return verifyWith(this.#held ?? keys, this.#version, jws, algorithms);
  }

  get #held(): Keys | undefined {
    return performance.now() - this.#fetchedMs < this.#settings.keepMs ? this.#keys : undefined;
  }

  /** Waits like the control plane's set: for missing or very old keys, but not for keys that are only old. */
  async #freshen(): Promise<void> {
    const ageMs = performance.now() - this.#fetchedMs;
    if (ageMs < this.#settings.refreshMs || this.#isQuiet('old')) return;
    const renewed = this.#renew('old');
    if (ageMs > 2 * this.#settings.refreshMs) await renewed;
  }

  #isQuiet(reason: RenewalReason): boolean {
    return performance.now() < (this.#quietUntilMs.get(reason) ?? 0);
  }

  /** Asks, or joins a pending question. */
  #renew(reason: RenewalReason): Promise<void> {
    const asked = this.#questions.get(reason);
    if (asked !== undefined) return asked;
    const question = this.#ask(reason).then((quietMs) => {
      this.#questions.delete(reason);
      this.#quietUntilMs.set(reason, performance.now() + quietMs);
    });
    this.#questions.set(reason, question);
    return question;
  }
}
