/**
 * Certificate revocation lists (RFC 5280 §5). Not left to OpenSSL, because Node has no option to look up only the leaf
 * or to accept an expired list; nor to @peculiar/x509, which takes 40 µs for each entry.
 */

import { type KeyObject, verify } from 'node:crypto';
import { type NameTable, NameTableBuilder } from '../core/name-table.ts';
import { finish } from '../core/prefix-tree.ts';
import { randomSeed } from '../lists/revoked.ts';
import { DER, type DerElement, DerError, derElements, derOnly, derTime, serialText } from './der.ts';

/** The contents of a list. */
export interface RevokedSerials {
  readonly thisUpdateMs: number;
  /** Absent if the authority does not say when the next list is due. */
  readonly nextUpdateMs?: number;
  /** Serial numbers: lower-case hexadecimal without leading zeros. */
  readonly serials: NameTable;
}

/** One list, whose signature has not been checked. */
export interface RevocationList extends RevokedSerials {
  /** Whether this key signed it. */
  isSignedBy(publicKey: KeyObject): boolean;
}

interface SignatureAlgorithm {
  /** Node's name of the key type. */
  readonly keyType: string;
  /** The first argument of Node's `verify`. */
  readonly hash: string | null;
}

/** Signature algorithms by the bytes of their OID. */
const ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  ['2a8648ce3d040302', { keyType: 'ec', hash: 'sha256' }], // ecdsa-with-SHA256
  ['2a8648ce3d040303', { keyType: 'ec', hash: 'sha384' }],
  ['2a8648ce3d040304', { keyType: 'ec', hash: 'sha512' }],
  ['2a864886f70d01010b', { keyType: 'rsa', hash: 'sha256' }], // sha256WithRSAEncryption
  ['2a864886f70d01010c', { keyType: 'rsa', hash: 'sha384' }],
  ['2a864886f70d01010d', { keyType: 'rsa', hash: 'sha512' }],
  ['2b6570', { keyType: 'ed25519', hash: null }],
  ['2b6571', { keyType: 'ed448', hash: null }],
]);
const BLOCK = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/g;
const VERSION_2 = '01';
const EXTENSIONS = 0xa0;

/** Returns every list of the text, or an error message: reading only part of it would revoke less than was meant. */
export function readRevocationLists(pem: string): readonly RevocationList[] | string {
  const blocks = [...pem.matchAll(BLOCK)].map(([, body = '']) => Buffer.from(body, 'base64'));
  if (blocks.length === 0 || pem.split('-----BEGIN').length - 1 !== blocks.length) {
    return 'contains something other than complete revocation lists';
  }
  const lists: RevocationList[] = [];
  for (const [index, block] of blocks.entries()) {
    try {
      lists.push(readRevocationList(block));
    } catch (error) {
      if (!(error instanceof DerError)) throw error;
      return `revocation list ${index + 1} cannot be read: ${error.message}`;
    }
  }
  return lists;
}

function readRevocationList(der: Buffer): RevocationList {
  const [tbs, algorithm, signature] = derElements(derOnly(der, DER.SEQUENCE).contents);
  if (tbs?.tag !== DER.SEQUENCE || algorithm?.tag !== DER.SEQUENCE || signature?.tag !== DER.BIT_STRING) {
    throw new DerError('it is not a signed list');
  }
  const { keyType, hash } = algorithmOf(algorithm);
  const contents = readContents(tbs, algorithm);
  // The first byte counts the unused bits at the end: none in a signature.
  if (signature.contents[0] !== 0) throw new DerError('its signature does not end at a byte');
  const signatureBytes = signature.contents.subarray(1);
  return {
    ...contents,
    // With a key of another type, `verify` would throw.
    isSignedBy: (key) => key.asymmetricKeyType === keyType && verify(hash, tbs.whole, key, signatureBytes),
  };
}

function algorithmOf(algorithm: DerElement): SignatureAlgorithm {
  const [oid] = derElements(algorithm.contents);
  const known = ALGORITHMS.get(oid?.contents.toString('hex') ?? '');
  if (known === undefined) throw new DerError('its signature algorithm is not accepted');
  return known;
}

/** RFC 5280 §5.1: version, signature, issuer, thisUpdate, nextUpdate, revokedCertificates, extensions. */
function readContents(tbs: DerElement, algorithm: DerElement): RevokedSerials {
  const parts = [...derElements(tbs.contents)];
  if (parts[0]?.tag === DER.INTEGER && parts.shift()?.contents.toString('hex') !== VERSION_2) {
    throw new DerError('its version is not 2');
  }
  const [inner, issuer, thisUpdate, ...rest] = parts;
  if (!inner?.whole.equals(algorithm.whole)) throw new DerError('its two signature algorithms differ');
  if (issuer?.tag !== DER.SEQUENCE || thisUpdate === undefined)
    throw new DerError('it has no issuer or no thisUpdate');
  const nextUpdate = isTime(rest[0]) ? rest.shift() : undefined;
  const revoked = rest[0]?.tag === DER.SEQUENCE ? rest.shift() : undefined;
  const extensions = rest[0]?.tag === EXTENSIONS ? rest.shift() : undefined;
  if (rest.length > 0) throw new DerError('it has unexpected fields at its end');
  if (extensions !== undefined) refuseCritical(derOnly(extensions.contents, DER.SEQUENCE));
  return {
    thisUpdateMs: derTime(thisUpdate),
    ...(nextUpdate !== undefined && { nextUpdateMs: derTime(nextUpdate) }),
    serials: readSerials(revoked),
  };
}

const isTime = (element: DerElement | undefined): boolean =>
  element?.tag === DER.UTC_TIME || element?.tag === DER.GENERALIZED_TIME;

function readSerials(revoked: DerElement | undefined): NameTable {
  const serials = new NameTableBuilder(randomSeed());
  for (const entry of revoked === undefined ? [] : derElements(revoked.contents)) {
    const [serial, date, extensions] = derElements(entry.contents);
    if (serial?.tag !== DER.INTEGER || !isTime(date))
      throw new DerError('an entry has no serial number or no date');
    if (extensions !== undefined) refuseCritical(extensions);
    serials.add(serialText(serial.contents.toString('hex')), 0);
  }
  return finish(serials.build());
}

/** Lists for some certificates only, delta lists and entries of another issuer all have a critical extension. */
function refuseCritical(extensions: DerElement): void {
  for (const extension of derElements(extensions.contents)) {
    const [, critical] = derElements(extension.contents);
    if (critical?.tag === DER.BOOLEAN && critical.contents[0] !== 0) {
      throw new DerError('it has a critical extension: partial, delta and indirect lists are not supported');
    }
  }
}
