/** Reads a JSON Web Key Set (RFC 7517) and refuses what no issuer should publish. */

import type { JSONWebKeySet, JWK } from 'jose';
import { parseJson } from '../core/json-value.ts';
import { rsaWeakness } from './rsa-weakness.ts';

/** Members that make a JWK private or symmetric (RFC 7518 §6). */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** What a public key says of itself (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2), but for `key_ops`. The rest is not taken. */
const MEMBERS = ['kty', 'kid', 'alg', 'use', 'ext', 'crv', 'x', 'y', 'n', 'e'];
/** An RSA modulus of 16,384 bits, the longest that OpenSSL verifies with, has 2,731. */
const MAX_CHARACTERS = 4096;
/** A token of an unknown `kid` is held against each. */
const MAX_KEYS = 256;
/** RFC 7517 §4.3 has eight. */
const MAX_OPERATIONS = 16;

type Written = Readonly<Record<string, unknown>>;

/** The set, every key of it public and no `kid` twice; or a sentence that says what is wrong with it. Never throws. */
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
    if (ids.has(key.kid)) return `two keys have the kid ${key.kid}`;
    ids.add(key.kid);
  }
  return { keys };
}

/** The members that are known, none with anything nested in it, which whoever takes a key apart may not survive. */
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
    return `the key_ops of a key are no list of at most ${MAX_OPERATIONS} strings`;
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
