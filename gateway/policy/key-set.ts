/** The public keys of a token issuer, from a file or from its JWKS address. */

import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose';
import { Agent, fetch as undiciFetch } from 'undici';

/** Finds the key a token names; jose rejects with `JWKSNoMatchingKey` when there is none. */
export interface KeySet {
  readonly find: JWTVerifyGetKey;
  /** Fetches keys that are fetched, so that the first request need not wait; says why it could not. */
  warm(): Promise<string | undefined>;
  close(): void;
}

const FETCH_TIMEOUT_MS = 5000;
const COOLDOWN_MS = 30_000;
const REFRESH_MS = 600_000;
const MAX_BYTES = 1 << 20;
/** Members of a JWK that make it private or symmetric (RFC 7518 §6). */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** Keys given as the text of a JWKS file; or what is wrong with it. */
export function createFileKeySet(text: string): KeySet | string {
  const jwks = readKeySet(text);
  if (typeof jwks === 'string') return jwks;
  return { find: createLocalJWKSet(jwks), warm: async () => undefined, close: () => undefined };
}

/** A JWKS of public keys, each with a `kid` of its own; or what is wrong with the text. */
export function readKeySet(text: string): JSONWebKeySet | string {
  const jwks = parseJson(text);
  if (!hasKeys(jwks)) return 'this is no JWKS: an object with a list "keys"';
  const ids = new Set<unknown>();
  for (const key of jwks.keys) {
    if (SECRET_MEMBERS.some((member) => member in key)) return 'a key is private or symmetric';
    if (ids.has(key['kid'])) return `two keys have the kid ${String(key['kid'])}`;
    ids.add(key['kid']);
  }
  return jwks as JSONWebKeySet;
}

/**
 * Keys fetched from the issuer: once, again when they are ten minutes old, and for an unknown `kid` after a
 * cooldown. One fetch runs at a time. The last good keys stay while the issuer cannot be reached.
 */
export function createRemoteKeySet(url: URL): KeySet {
  const agent = new Agent({ allowH2: false, connect: { timeout: FETCH_TIMEOUT_MS } });
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: FETCH_TIMEOUT_MS,
    cooldownDuration: COOLDOWN_MS,
    cacheMaxAge: REFRESH_MS,
    [customFetch]: (address, options) => fetchKeys(agent, address, options.signal),
  });
  let lastGood: JWTVerifyGetKey | undefined;
  const remember = (): void => {
    const jwks = remote.jwks();
    if (jwks !== undefined) lastGood = createLocalJWKSet(jwks);
  };
  const find: JWTVerifyGetKey = async (header, token) => {
    try {
      const key = await remote(header, token);
      remember();
      return key;
    } catch (error) {
      if (lastGood === undefined || error instanceof errors.JWKSNoMatchingKey) throw error;
      return lastGood(header, token);
    }
  };
  return {
    find,
    warm: () => remote.reload().then(() => remember(), (error: unknown) => reason(error)) as Promise<string | undefined>,
    close: () => void agent.destroy(),
  };
}

/** The answer with its whole body checked, as jose wants it. */
async function fetchKeys(agent: Agent, address: string, signal: AbortSignal): Promise<Response> {
  const response = await undiciFetch(address, { dispatcher: agent, signal, redirect: 'error' });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`the JWKS is larger than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  const jwks = response.status === 200 ? readKeySet(text) : `the issuer answered ${response.status}`;
  if (typeof jwks === 'string') throw new Error(jwks);
  return new Response(text, { status: 200 });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function hasKeys(value: unknown): value is { readonly keys: readonly Record<string, unknown>[] } {
  if (typeof value !== 'object' || value === null || !('keys' in value) || !Array.isArray(value.keys)) return false;
  return value.keys.every((key) => typeof key === 'object' && key !== null);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
