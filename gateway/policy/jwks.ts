/** Reads a JSON Web Key Set (RFC 7517) and refuses what no issuer should publish. */

import type { JSONWebKeySet } from 'jose';
import { type RsaMembers, rsaWeakness } from './rsa-weakness.ts';

/** Members that make a JWK private or symmetric (RFC 7518 §6). */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

interface Jwk extends RsaMembers {
  readonly kid?: unknown;
  readonly kty?: unknown;
}

/** The set, every key of it public and no `kid` twice; or a sentence that says what is wrong with it. */
export function readJwks(text: string): JSONWebKeySet | string {
  const set = parseJson(text);
  if (!isJwks(set)) return 'it is not a JSON Web Key Set: an object with a list "keys" of objects';
  const ids = new Set<unknown>();
  for (const key of set.keys) {
    const fault = keyFault(key);
    if (fault !== undefined) return fault;
    if (key.kid === undefined) continue;
    if (ids.has(key.kid)) return `two keys have the kid ${key.kid}`;
    ids.add(key.kid);
  }
  return set as JSONWebKeySet;
}

function keyFault(key: Jwk): string | undefined {
  if (typeof key.kty !== 'string') return 'a key has no kty';
  if (SECRET_MEMBERS.some((member) => Object.hasOwn(key, member))) return 'a key is private or symmetric';
  if (key.kid !== undefined && typeof key.kid !== 'string') return 'a kid is not a string';
  return key.kty === 'RSA' ? rsaWeakness(key) : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isJwks(value: unknown): value is { readonly keys: readonly Jwk[] } {
  if (typeof value !== 'object' || value === null || !('keys' in value)) return false;
  return Array.isArray(value.keys) && value.keys.every((key) => typeof key === 'object' && key !== null);
}
