/** Tokens already verified, so that a caller's second request costs a look-up and no signature. */

import type { Grant } from '../core/scope.ts';

/** What a token says, once its signature and its claims have been checked. */
export interface VerifiedToken {
  /** The issuer's name in the policy. */
  readonly issuer: string;
  readonly subject: string;
  readonly jti?: string;
  readonly grants: readonly Grant[];
  /** Version of the issuer's keys that verified it; under any other it has to be verified again. */
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
  /** Those a decision may rest on, as JSON on one line, for the log; absent where that would be long. */
  readonly logged?: string;
}

/** Remembers by the exact text of the token. Bounded: the oldest entry makes room. */
export interface TokenMemory {
  /** The token, if it was seen and what was learnt of it still holds at `nowMs`. */
  get(text: string, nowMs: number): VerifiedToken | undefined;
  put(text: string, token: VerifiedToken, nowMs: number): void;
  readonly size: number;
}

/** Nothing is believed for longer, whatever its `exp`. */
const MAX_AGE_MS = 5 * 60_000;
const CAPACITY = 10_000;

interface Entry {
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
      const entry = entries.get(text);
      if (entry === undefined) return undefined;
      if (nowMs < entry.untilMs) return entry.token;
      entries.delete(text);
      return undefined;
    },
    put(text, token, nowMs) {
      entries.delete(text);
      const [oldest] = entries.keys();
      if (oldest !== undefined && entries.size >= capacity) entries.delete(oldest);
      entries.set(text, { token, untilMs: Math.min(token.expMs, nowMs + MAX_AGE_MS) });
    },
  };
}
