/** Verified tokens, so that a caller's second request costs a look-up and no signature. */

import type { Grant } from '../core/scope.ts';

/** A token whose signature and claims have been checked. */
export interface VerifiedToken {
  /** The issuer's name in the policy. */
  readonly issuer: string;
  readonly subject: string;
  readonly jti?: string;
  readonly grants: readonly Grant[];
  /** Version of the issuer's keys that verified it; under any other it must be verified again. */
  readonly keysVersion: number;
  /** `model_id`: the one model the token is for. */
  readonly modelId?: string;
  /** Infinity for no limit. */
  readonly maxEpochs: number;
  /** `base_version`: the one version a patch may be for. */
  readonly baseVersion?: number;
  /** `target_version`: the one version a patch may make. */
  readonly targetVersion?: number;
  /** SHA-256 of the certificate the token is bound to, base64url (RFC 8705 §3.1). */
  readonly thumbprint?: string;
  readonly expMs: number;
  readonly nbfMs: number;
  readonly claims: Readonly<Record<string, unknown>>;
  /** The claims a decision may depend on, as JSON on one line, for the log; absent if that is too long. */
  readonly logged?: string;
}

/** Finds exact texts only. Bounded: the oldest entry makes room. */
export interface TokenMemory {
  /** The token, if it was seen before and its entry is still valid at `nowMs`. */
  get(text: string, nowMs: number): VerifiedToken | undefined;
  put(text: string, token: VerifiedToken, nowMs: number): void;
  readonly size: number;
}

/** An entry expires after this time, even if the token's `exp` is later. */
const MAX_AGE_MS = 5 * 60_000;
const CAPACITY = 10_000;

/**
 * Entries are keyed by the end of the text, which belongs to the signature: V8 would hash a whole text anew for each
 * request. Of two texts that end alike, only the last is remembered.
 */
const KEY_CHARACTERS = 32;
const keyOf = (text: string): string => text.slice(-KEY_CHARACTERS);

interface Entry {
  readonly text: string;
  readonly token: VerifiedToken;
  readonly untilMs: number;
}

/** An empty memory for `capacity` tokens. */
export function createTokenMemory(capacity = CAPACITY): TokenMemory {
  const entries = new Map<string, Entry>();
  return {
    get size() {
      return entries.size;
    },
    get(text, nowMs) {
      const key = keyOf(text);
      const entry = entries.get(key);
      if (entry === undefined || entry.text !== text) return undefined;
      if (nowMs < entry.untilMs) return entry.token;
      entries.delete(key);
      return undefined;
    },
    put(text, token, nowMs) {
      const key = keyOf(text);
      entries.delete(key);
      const [oldest] = entries.keys();
      if (oldest !== undefined && entries.size >= capacity) entries.delete(oldest);
      entries.set(key, { text, token, untilMs: Math.min(token.expMs, nowMs + MAX_AGE_MS) });
    },
  };
}
