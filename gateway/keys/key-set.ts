/** The public keys of a token issuer, from a file or from its JWKS address, and the signatures they verify. */

import { JWKSNoMatchingKey } from 'jose/errors';
import { createLocalJWKSet } from 'jose/jwks/local';
import { type CompactVerifyGetKey, compactVerify } from 'jose/jws/compact/verify';
import { fileFault } from '../core/fault.ts';
import type { ListPart, ListReader, LiveContents } from '../lists/live-list.ts';
import { readJwks } from './jwks.ts';
import type { TextFetcher } from './text-fetcher.ts';

/** Verifies the signatures of one issuer. */
export interface KeySet {
  /** Changes with the keys: a token verified by another version must be verified again. 0 means no keys. */
  readonly version: number;
  /**
   * Verifies a compact JWS (RFC 7515 §3.1) with the key that its `kid` and algorithm select, if the algorithm is one of
   * `algorithms`. Without `mayFetch`, only keys already fetched are used. Never rejects.
   */
  verify(jws: string, algorithms: readonly string[], mayFetch?: boolean): Promise<Verdict>;
  /** The list that follows the key file. */
  readonly list?: ListPart<Keys>;
}

/**
 * `version` is that of the keys that verified. `unavailable` means that there are no keys to verify with, and says
 * nothing about the token. `cause` is for the log.
 */
export type Verdict =
  | { readonly kind: 'verified'; readonly version: number }
  | { readonly kind: 'refused'; readonly unknownKey: boolean; readonly cause: string }
  | { readonly kind: 'unavailable'; readonly cause: string };

/** Times in milliseconds. */
export interface RemoteKeySettings {
  /** Between two scheduled fetches. */
  readonly refreshMs: number;
  /** How long keys are used after the last successful fetch. */
  readonly keepMs: number;
}

export interface RemoteKeySetOptions extends RemoteKeySettings {
  readonly onFetch?: (fault: string | undefined) => void;
  readonly onChange?: () => void;
  /** A monotonic clock in milliseconds; `performance.now` by default. */
  readonly now?: () => number;
}

/** The state of a key set after an attempt to fetch it. */
export interface KeyNews {
  readonly keys: Keys | undefined;
  /** When they were last fetched, by the clock of the set. */
  readonly fetchedMs: number;
  /** Why the last attempt failed. */
  readonly fault: string | undefined;
}

/** `unknown`: a token names a key that is not in the set; `old`: the keys are due for a refresh. */
export type RenewalReason = 'unknown' | 'old';

/** Asymmetric signatures, the only ones ever accepted (RFC 8725 §3.1, §3.2). */
const signatureAlgorithms: ReadonlySet<string> = new Set([
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
]);

/** Time between fetches that an unknown `kid` can cause. */
const COOLDOWN_MS = 30_000;
/** Time between fetches while the last one failed. */
const RETRY_MS = 5000;
/** Gateways that were started together must not fetch together for ever. */
const JITTER = 0.1;

/** One generation of keys. */
export interface Keys extends LiveContents {
  readonly find: CompactVerifyGetKey;
  /** The JWKS they were read from. */
  readonly text: string;
}

/** Returns the keys of a JWKS, or an error string. Never throws. */
export function readKeys(text: string): Keys | string {
  const jwks = readJwks(text);
  if (typeof jwks === 'string') return jwks;
  return jwks.keys.length === 0 ? 'it has no keys' : { find: createLocalJWKSet(jwks), text };
}

/** Reads a key file, whose text is a JWKS. */
export const keysReader: ListReader<Keys> = {
  // biome-ignore lint/correctness/useYield: a set of keys is read in one step
  *text(file, text) {
    const keys = readKeys(text);
    return typeof keys === 'string' ? [fileFault(file, keys)] : keys;
  },
  // biome-ignore lint/correctness/useYield: no source of keys has them one by one
  *keyed(place) {
    return [fileFault(place, 'is not a key file')];
  },
};

/** The keys of a followed file; after a fault the last good ones stay. */
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
 * cooldown. There is one fetch at a time, bounded in time and size; redirects are refused. While the issuer cannot be
 * reached, or publishes no valid set of public keys, the last good keys stay for `keepMs`.
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

  /** Fetches now, and from then on at intervals. */
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

  /** Fetches, or joins the fetch under way. Resolves to an error string if it failed. Never rejects. */
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

  /** The keys, unless the last successful fetch was too long ago. */
  get #held(): Keys | undefined {
    return this.#now() - this.#fetchedMs < this.#options.keepMs ? this.#keys : undefined;
  }

  /**
   * Fetches, if it is time to. Waits for the fetch if a key is unknown, if nothing was fetched yet, or if the keys are
   * older than two intervals; otherwise they are refreshed in the background.
   */
  async renew(reason: RenewalReason): Promise<void> {
    if (this.quietMs(reason) > 0) return;
    const waits = reason === 'unknown' || this.#now() - this.#fetchedMs > 2 * this.#options.refreshMs;
    const flight = this.fetch();
    if (waits) await flight;
  }

  /** Milliseconds for which `renew` does nothing. A fetch under way can always be joined. */
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

  /** The state after the last attempt; a new object after each. */
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

/** Imported on demand: the HTTP client takes 20 MiB, which a gateway with all keys in files does not need. */
async function createFetcher(): Promise<TextFetcher> {
  const { TextFetcher } = await import('./text-fetcher.ts');
  return new TextFetcher();
}

/** Returns a verdict in place of jose's errors and of any others that unusual tokens and keys make it throw. */
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
