/** The public keys of a token issuer, from a file or from its JWKS address, and the signatures they verify. */

import { type CompactVerifyGetKey, compactVerify, createLocalJWKSet, errors } from 'jose';
import { readJwks } from './jwks.ts';
import type { TextFetcher } from './text-fetcher.ts';

/** Verifies signatures of one issuer. */
export interface KeySet {
  /** Rises when the keys change: what an earlier version verified must be verified again. */
  readonly version: number;
  /**
   * Verifies a compact JWS (RFC 7515 §3.1) by the key of the set that its `kid` and algorithm pick, if the algorithm is
   * one of these. Never rejects.
   */
  verify(jws: string, algorithms: readonly string[]): Promise<Verdict>;
  /** Fetches what has to be fetched, before the first request needs it; a sentence when that failed. Never rejects. */
  warm(): Promise<string | undefined>;
  /** `onFetch` hears of every fetch that ends from now on: nothing, or what went wrong. It replaces the one before. */
  watch(onFetch: (fault: string | undefined) => void): void;
  close(): void;
}

/**
 * `version` is that of the keys that verified. `unavailable` says nothing about the token: there are no keys to verify
 * it with. `cause` is for the log.
 */
export type Verdict =
  | { readonly kind: 'verified'; readonly version: number }
  | { readonly kind: 'refused'; readonly unknownKey: boolean; readonly cause: string }
  | { readonly kind: 'unavailable'; readonly cause: string };

export interface RemoteKeySetOptions {
  /** Milliseconds of a clock that does not run backwards; `performance.now` unless given. */
  readonly now?: () => number;
}

/** Asymmetric signatures, the only ones ever offered (RFC 8725 §3.1, §3.2). */
export const signatureAlgorithms: ReadonlySet<string> = new Set([
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
]);

/** Time between fetches that an unknown `kid` can cause. */
const COOLDOWN_MS = 30_000;
/** Time between fetches while there are no keys at all. */
const RETRY_MS = 5000;
const REFRESH_MS = 600_000;

/** Keys given as the text of a JWKS file, or a sentence that says what is wrong with it. */
export function createFileKeySet(text: string): KeySet | string {
  const jwks = readJwks(text);
  if (typeof jwks === 'string') return jwks;
  if (jwks.keys.length === 0) return 'it holds no key';
  const keys = { find: createLocalJWKSet(jwks), version: 1 };
  return {
    version: keys.version,
    verify: (jws, algorithms) => verifyWith(keys, jws, algorithms),
    warm: async () => undefined,
    watch: () => undefined,
    close: () => undefined,
  };
}

/** One generation of keys. */
interface Keys {
  readonly find: CompactVerifyGetKey;
  readonly version: number;
}

/**
 * Keys fetched from the issuer: at first use, when they are ten minutes old, and for an unknown `kid` after a cooldown;
 * one fetch at a time, bounded in time and size, redirects refused. While the issuer cannot be reached, or publishes
 * what is no set of public keys, the last good keys stay.
 */
export function createRemoteKeySet(url: URL, options: RemoteKeySetOptions = {}): KeySet {
  return new RemoteKeySet(url, options);
}

class RemoteKeySet implements KeySet {
  readonly #url: URL;
  readonly #now: () => number;
  #fetcher: TextFetcher | undefined;
  #closed = false;
  #keys: Keys | undefined;
  #text: string | undefined;
  #flight: Promise<string | undefined> | undefined;
  #fetchedMs = Number.NEGATIVE_INFINITY;
  #triedMs = Number.NEGATIVE_INFINITY;
  #fault: string | undefined;
  #onFetch: (fault: string | undefined) => void = () => undefined;

  constructor(url: URL, { now = () => performance.now() }: RemoteKeySetOptions) {
    this.#url = url;
    this.#now = now;
  }

  get version(): number {
    return this.#keys?.version ?? 0;
  }

  async verify(jws: string, algorithms: readonly string[]): Promise<Verdict> {
    await this.#freshen();
    const keys = this.#keys;
    if (keys === undefined) return { kind: 'unavailable', cause: this.#fault ?? 'no keys were fetched' };
    const verdict = await verifyWith(keys, jws, algorithms);
    if (verdict.kind !== 'refused' || !verdict.unknownKey || !this.#mayFetch(COOLDOWN_MS)) return verdict;
    await this.#fetch();
    return verifyWith(this.#keys ?? keys, jws, algorithms);
  }

  warm(): Promise<string | undefined> {
    return this.#fetch();
  }

  watch(onFetch: (fault: string | undefined) => void): void {
    this.#onFetch = onFetch;
  }

  close(): void {
    this.#closed = true;
    this.#fetcher?.close();
  }

  /** Old keys are renewed behind the request's back; no keys, or very old ones, are waited for. */
  async #freshen(): Promise<void> {
    const ageMs = this.#now() - this.#fetchedMs;
    if (ageMs < REFRESH_MS) return;
    if (!this.#mayFetch(this.#keys === undefined ? RETRY_MS : COOLDOWN_MS)) return;
    const flight = this.#fetch();
    if (ageMs > 2 * REFRESH_MS) await flight;
  }

  /** A flight under way can always be joined. */
  #mayFetch(pauseMs: number): boolean {
    return this.#flight !== undefined || this.#now() - this.#triedMs >= pauseMs;
  }

  #fetch(): Promise<string | undefined> {
    this.#flight ??= this.#attempt().finally(() => {
      this.#flight = undefined;
    });
    return this.#flight;
  }

  async #attempt(): Promise<string | undefined> {
    this.#triedMs = this.#now();
    this.#fault = await this.#renew();
    this.#onFetch(this.#fault);
    return this.#fault;
  }

  async #renew(): Promise<string | undefined> {
    this.#fetcher ??= await createFetcher();
    if (this.#closed) this.#fetcher.close();
    const text = await this.#fetcher.fetch(this.#url);
    if (typeof text !== 'string') return text.fault;
    const jwks = readJwks(text);
    if (typeof jwks === 'string') return jwks;
    this.#fetchedMs = this.#now();
    if (text === this.#text) return undefined;
    this.#text = text;
    this.#keys = { find: createLocalJWKSet(jwks), version: this.version + 1 };
    return undefined;
  }
}

/** The HTTP client takes 20 MiB, which a gateway whose keys are all in files does without. */
async function createFetcher(): Promise<TextFetcher> {
  const { TextFetcher } = await import('./text-fetcher.ts');
  return new TextFetcher();
}

/** Answers with a verdict instead of jose's errors, and of the others that odd tokens and keys make it throw. */
async function verifyWith(keys: Keys, jws: string, algorithms: readonly string[]): Promise<Verdict> {
  try {
    const offered = algorithms.filter((name) => signatureAlgorithms.has(name));
    await compactVerify(jws, keys.find, { algorithms: offered });
    return { kind: 'verified', version: keys.version };
  } catch (error) {
    const unknownKey = error instanceof errors.JWKSNoMatchingKey;
    return { kind: 'refused', unknownKey, cause: describe(error) };
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
