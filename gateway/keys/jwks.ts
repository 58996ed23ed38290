/** Reads a JSON Web Key Set (RFC 7517) and rejects what no issuer should publish. */

import type { JSONWebKeySet, JWK } from 'jose';
import { parseJson } from '../core/json-value.ts';
import { rsaWeakness } from './rsa-weakness.ts';

/** Members that make a JWK private or symmetric (RFC 7518 §6). */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** The members read from a public key, beside `key_ops` (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). */
const MEMBERS = ['kty', 'kid', 'alg', 'use', 'ext', 'crv', 'x', 'y', 'n', 'e'];
/** A modulus of 16,384 bits, the longest OpenSSL verifies with, has 2,731. */
const MAX_CHARACTERS = 4096;
/** A token with an unknown `kid` is compared with each. */
const MAX_KEYS = 256;
/** RFC 7517 §4.3 has eight. */
const MAX_OPERATIONS = 16;

type Written = Readonly<Record<string, unknown>>;

/** Returns the set, with only public keys and no duplicate `kid`, or an error string. Never throws. */
export function readJwks(text: string): JSONWebKeySet | string {
  const set = parseJson(text);
  if (!isJwks(set)) return 'it is not a JSON Web Key Set: an object with a list "keys" of objects';
  if (set.keys.length > MAX_KEYS) return `it holds more than ${MAX_KEYS} keys`;
  const keys: JWK[] = [];
  const ids = new Set<string>();
  for (const written of set.keys) {
    const key = readKey(written);
    if (typeof key === 'string') return key;
    keys.push(key);
    if (key.kid === undefined) continue;
    if (ids.has(key.kid)) return `duplicate kid ${key.kid}`;
    ids.add(key.kid);
  }
  return { keys };
}

/** The known members of a key. None is nested, because code that parses keys may not survive deep nesting. */
function readKey(written: Written): JWK | string {
  const fault = keyFault(written);
  if (fault !== undefined) return fault;
  const names = [...MEMBERS, 'key_ops'].filter((name) => Object.hasOwn(written, name));
  return Object.fromEntries(names.map((name) => [name, written[name]]));
}

function keyFault(key: Written): string | undefined {
  if (typeof key.kty !== 'string') return 'a key has no kty';
  if (SECRET_MEMBERS.some((member) => Object.hasOwn(key, member))) return 'a key is private or symmetric';
  if (key.kid !== undefined && typeof key.kid !== 'string') return 'a kid is not a string';
  const nested = MEMBERS.find((name) => isNested(key[name]));
  if (nested !== undefined) return `the ${nested} of a key is a list or an object`;
  const long = MEMBERS.find((name) => String(key[name]).length > MAX_CHARACTERS);
  if (long !== undefined) return `the ${long} of a key is longer than ${MAX_CHARACTERS} characters`;
  if (isNested(key.key_ops) && !isOperations(key.key_ops))
    return `the key_ops of a key is not a list of at most ${MAX_OPERATIONS} strings`;
  return key.kty === 'RSA' ? rsaWeakness(key) : undefined;
}

function isNested(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function isOperations(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length <= MAX_OPERATIONS &&
    value.every((operation) => typeof operation === 'string')
  );
}

function isJwks(value: unknown): value is { readonly keys: readonly Written[] } {
  if (typeof value !== 'object' || value === null || !('keys' in value)) return false;
  return Array.isArray(value.keys) && value.keys.every((key) => typeof key === 'object' && key !== null);
}
