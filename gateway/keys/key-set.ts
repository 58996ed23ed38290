/** The public keys of a token issuer, from a file or from its JWKS address, and the signatures they verify. */

import { JWKSNoMatchingKey } from 'jose/errors';
import { createLocalJWKSet } from 'jose/jwks/local';
import { type CompactVerifyGetKey, compactVerify } from 'jose/jws/compact/verify';
import { fileFault } from '../core/fault.ts';
import type { ListPart, ListReader, LiveContents } from '../lists/live-list.ts';
import { readJwks } from './jwks.ts';
import type { TextFetcher } from './text-fetcher.ts';

/** Verifies signatures of one issuer. */
export interface KeySet {
  /** Another one when the keys change: what an earlier version verified must be verified again. 0: there are no keys. */
  readonly version: number;
  /**
   * Verifies a compact JWS (RFC 7515 §3.1) by the key of the set that its `kid` and algorithm pick, if the algorithm is
   * one of these. Without `mayFetch` the keys at hand have to do. Never rejects.
   */
  verify(jws: string, algorithms: readonly string[], mayFetch?: boolean): Promise<Verdict>;
  /** The list that follows the file of the keys. */
  readonly list?: ListPart<Keys>;
}

/**
 * `version` is that of the keys that verified. `unavailable` says nothing about the token: there are no keys to verify
 * it with. `cause` is for the log.
 */
export type Verdict =
  | { readonly kind: 'verified'; readonly version: number }
  | { readonly kind: 'refused'; readonly unknownKey: boolean; readonly cause: string }
  | { readonly kind: 'unavailable'; readonly cause: string };

/** Times in milliseconds. */
export interface RemoteKeySettings {
  /** Between two fetches that no token asks for. */
  readonly refreshMs: number;
  /** How long keys hold after the last fetch that succeeded. */
  readonly keepMs: number;
}

export interface RemoteKeySetOptions extends RemoteKeySettings {
  readonly onFetch?: (fault: string | undefined) => void;
  readonly onChange?: () => void;
  /** Milliseconds of a clock that does not run backwards; `performance.now` unless given. */
  readonly now?: () => number;
}

/** What a set of keys is at one moment. */
export interface KeyNews {
  readonly keys: Keys | undefined;
  /** When they were fetched last, by the clock of the set. */
  readonly fetchedMs: number;
  /** Why the last attempt failed. */
  readonly fault: string | undefined;
}

/** A token names a key they do not have, or they are old. */
export type RenewalReason = 'unknown' | 'old';

/** Asymmetric signatures, the only ones ever offered (RFC 8725 §3.1, §3.2). */
const signatureAlgorithms: ReadonlySet<string> = new Set([
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
]);

/** Time between fetches that an unknown `kid` can cause. */
const COOLDOWN_MS = 30_000;
/** Time between fetches while the last one failed. */
const RETRY_MS = 5000;
/** Gateways that were started together do not fetch together for ever. */
const JITTER = 0.1;

/** One generation of keys. */
export interface Keys extends LiveContents {
  readonly find: CompactVerifyGetKey;
  /** The JWKS they were read from. */
  readonly text: string;
}

/** The keys of a JWKS, or what is wrong with it. Never throws. */
export function readKeys(text: string): Keys | string {
  const jwks = readJwks(text);
  if (typeof jwks === 'string') return jwks;
  return jwks.keys.length === 0 ? 'it holds no key' : { find: createLocalJWKSet(jwks), text };
}

/** Keys in a file, as the text of a JWKS. */
export const keysReader: ListReader<Keys> = {
  // biome-ignore lint/correctness/useYield: a set of keys is read in one step
  *text(file, text) {
    const keys = readKeys(text);
    return typeof keys === 'string' ? [fileFault(file, keys)] : keys;
  },
  // biome-ignore lint/correctness/useYield: no source of keys has them one by one
  *keyed(place) {
    return [fileFault(place, 'is no file of keys')];
  },
};

/** The keys of a file that is followed: the last good ones hold. */
export class FileKeySet implements KeySet {
  readonly list: ListPart<Keys>;
  #counted: Keys | undefined;
  #version = 0;

  constructor(list: ListPart<Keys>) {
    this.list = list;
  }

  get version(): number {
    const { contents } = this.list;
    if (contents !== this.#counted) this.#version += 1;
    this.#counted = contents;
    return this.#version;
  }

  async verify(jws: string, algorithms: readonly string[]): Promise<Verdict> {
    const { version } = this;
    const { contents, place } = this.list;
    if (contents === undefined) return { kind: 'unavailable', cause: `${place} was never read` };
    return verifyWith(contents, version, jws, algorithms);
  }
}

/**
 * Keys fetched from the issuer: before the first token needs them, at intervals, and for an unknown `kid` after a
 * cooldown; one fetch at a time, bounded in time and size, redirects refused. While the issuer cannot be reached, or
 * publishes what is no set of public keys, the last good keys stay for a while.
 */
export class RemoteKeySet implements KeySet {
  readonly #url: URL;
  readonly #options: RemoteKeySetOptions;
  readonly #now: () => number;
  #fetcher: TextFetcher | undefined;
  #closed = false;
  #keys: Keys | undefined;
  #version = 0;
  #flight: Promise<string | undefined> | undefined;
  #fetchedMs = Number.NEGATIVE_INFINITY;
  #triedMs = Number.NEGATIVE_INFINITY;
  #fault: string | undefined;
  #news: KeyNews = { keys: undefined, fetchedMs: Number.NEGATIVE_INFINITY, fault: undefined };
  #toldVersion = 0;
  #follows = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(url: URL, options: RemoteKeySetOptions) {
    this.#url = url;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get version(): number {
    return this.#held === undefined ? 0 : this.#version;
  }

  /** Fetches now and again from now on. */
  follow(): void {
    this.#follows = true;
    void this.fetch();
  }

  async verify(jws: string, algorithms: readonly string[], mayFetch = true): Promise<Verdict> {
    if (mayFetch) await this.renew('old');
    const keys = this.#held;
    if (keys === undefined) return { kind: 'unavailable', cause: this.#fault ?? 'no keys were fetched' };
    const verdict = await verifyWith(keys, this.#version, jws, algorithms);
    if (!mayFetch || verdict.kind !== 'refused' || !verdict.unknownKey) return verdict;
    if (this.quietMs('unknown') > 0) return verdict;
    await this.renew('unknown');
    return verifyWith(this.#held ?? keys, this.#version, jws, algorithms);
  }

  /** Fetches, or joins the fetch under way; a sentence when it failed. Never rejects. */
  fetch(): Promise<string | undefined> {
    this.#flight ??= this.#attempt().finally(() => {
      this.#flight = undefined;
    });
    return this.#flight;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#fetcher?.close();
  }

  /** The keys, unless the issuer was silent for too long. */
  get #held(): Keys | undefined {
    return this.#now() - this.#fetchedMs < this.#options.keepMs ? this.#keys : undefined;
  }

  /**
   * Fetches, if it is time: for a key they do not have, or because they are `old`. Old keys are renewed behind the
   * request's back; no keys, or very old ones, are waited for.
   */
  async renew(reason: RenewalReason): Promise<void> {
    if (this.quietMs(reason) > 0) return;
    const waits = reason === 'unknown' || this.#now() - this.#fetchedMs > 2 * this.#options.refreshMs;
    const flight = this.fetch();
    if (waits) await flight;
  }

  /** Milliseconds for which `renew` would do nothing. A flight under way can always be joined. */
  quietMs(reason: RenewalReason): number {
    const nowMs = this.#now();
    const youngMs = reason === 'old' ? this.#fetchedMs + this.#options.refreshMs - nowMs : 0;
    if (this.#flight !== undefined) return Math.max(0, youngMs);
    const pauseMs = reason === 'old' && this.#held === undefined ? RETRY_MS : COOLDOWN_MS;
    return Math.max(0, youngMs, this.#triedMs + pauseMs - nowMs);
  }

  get settings(): RemoteKeySettings {
    const { refreshMs, keepMs } = this.#options;
    return { refreshMs, keepMs };
  }

  /** What the last attempt left: another object after each. */
  get news(): KeyNews {
    return this.#news;
  }

  async #attempt(): Promise<string | undefined> {
    this.#triedMs = this.#now();
    this.#fault = await this.#read().catch(describe);
    this.#news = { keys: this.#keys, fetchedMs: this.#fetchedMs, fault: this.#fault };
    if (this.#closed) return this.#fault;
    this.#options.onFetch?.(this.#fault);
    if (this.version !== this.#toldVersion) this.#options.onChange?.();
    this.#toldVersion = this.version;
    if (this.#follows) this.#fetchLater();
    return this.#fault;
  }

  #fetchLater(): void {
    const pauseMs = this.#fault === undefined ? this.#options.refreshMs : RETRY_MS;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.fetch(), pauseMs * (1 - JITTER * Math.random())).unref();
  }

  async #read(): Promise<string | undefined> {
    this.#fetcher ??= await createFetcher();
    if (this.#closed) this.#fetcher.close();
    const text = await this.#fetcher.fetch(this.#url);
    if (typeof text !== 'string') return text.fault;
    const keys = text === this.#keys?.text ? this.#keys : readKeys(text);
    if (typeof keys === 'string') return keys;
    this.#fetchedMs = this.#now();
    if (keys !== this.#keys) this.#version += 1;
    this.#keys = keys;
    return undefined;
  }
}

/** The HTTP client takes 20 MiB, which a gateway whose keys are all in files does without. */
async function createFetcher(): Promise<TextFetcher> {
  const { TextFetcher } = await import('./text-fetcher.ts');
  return new TextFetcher();
}

/** Answers with a verdict instead of jose's errors, and of the others that odd tokens and keys make it throw. */
export async function verifyWith(
  { find }: Keys,
  version: number,
  jws: string,
  algorithms: readonly string[],
): Promise<Verdict> {
  try {
    const offered = algorithms.filter((name) => signatureAlgorithms.has(name));
    await compactVerify(jws, find, { algorithms: offered });
    return { kind: 'verified', version };
  } catch (error) {
    const unknownKey = error instanceof JWKSNoMatchingKey;
    return { kind: 'refused', unknownKey, cause: describe(error) };
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
