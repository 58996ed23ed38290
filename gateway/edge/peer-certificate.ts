/** What a client certificate says, read once a connection, and the rules it must keep beyond its chain. */

import { hash, type X509Certificate } from 'node:crypto';
import { serialText } from '../certificates/der.ts';
import type { VerifiedCertificate } from '../core/facts.ts';
import { parseJson } from '../core/json-value.ts';

/** A certificate that chains to the right authority and is refused all the same. */
export interface RefusedCertificate {
  readonly status: 'refused';
  readonly reason: string;
}

/** Authorities between a client and its root, at most. */
const CHAIN_LENGTH = 8;
/** All of it together, DER: nodes get the certificate as a field of a request head. */
export const CHAIN_BYTES = 16_384;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_PURPOSE = '2.5.29.37.0';
const MIN_RSA_BITS = 2048;
const KEY_TYPES: ReadonlySet<string> = new Set(['rsa', 'rsa-pss', 'ec', 'ed25519', 'ed448']);

/** What follows from the bytes of a certificate alone. */
interface Leaf {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly facts: Omit<VerifiedCertificate, 'chain'> | RefusedCertificate;
}

const KNOWN_LEAVES = 1000;

/** What was read of certificates: most handshakes are those of workers that were here before. */
export class KnownLeaves {
  /** By thumbprint, the one seen longest ago first. */
  readonly #leaves = new Map<string, Leaf>();

  recall(certificate: X509Certificate, raw: Buffer): Leaf {
    const thumbprint = hash('sha256', raw, 'base64url');
    const leaf = this.#leaves.get(thumbprint) ?? {
      notBeforeMs: certificate.validFromDate.getTime(),
      notAfterMs: certificate.validToDate.getTime(),
      facts: readLeaf(certificate, thumbprint),
    };
    this.#leaves.delete(thumbprint);
    this.#leaves.set(thumbprint, leaf);
    const [oldest] = this.#leaves.keys();
    if (oldest !== undefined && this.#leaves.size > KNOWN_LEAVES) this.#leaves.delete(oldest);
    return leaf;
  }
}

/**
 * The facts of a certificate whose chain was verified, or why it is refused. Chain verification leaves open whether
 * it is valid now (a resumed session carries an old verdict), is no authority itself, may authenticate clients
 * (RFC 5280 §4.2.1.12), and has a key of some strength; and how long a chain may be.
 */
export function readPeerCertificate(
  certificate: X509Certificate,
  nowMs: number,
  known: KnownLeaves = new KnownLeaves(),
): VerifiedCertificate | RefusedCertificate {
  const { raw } = certificate;
  if (raw.length > CHAIN_BYTES) return { status: 'refused', reason: 'its chain is too large' };
  const { notBeforeMs, notAfterMs, facts } = known.recall(certificate, raw);
  if (nowMs < notBeforeMs) return { status: 'refused', reason: 'it is not valid yet' };
  if (nowMs > notAfterMs) return { status: 'refused', reason: 'it has expired' };
  if (facts.status === 'refused') return facts;
  const chain = issuersOf(certificate);
  if (chain.length > CHAIN_LENGTH) return { status: 'refused', reason: 'its chain is too long' };
  const bytes = chain.reduce((sum, each) => sum + each.raw.length, raw.length);
  if (bytes > CHAIN_BYTES) return { status: 'refused', reason: 'its chain is too large' };
  return { ...facts, chain: chain.map((each) => each.raw.toString('base64')) };
}

/** Whether a certificate and all that came with it are more than anybody needs, whoever has signed them. */
export function isOversized(certificate: X509Certificate): boolean {
  let bytes = 0;
  let each: X509Certificate | undefined = certificate;
  for (; each !== undefined && bytes <= CHAIN_BYTES; each = each.issuerCertificate) bytes += each.raw.length;
  return bytes > CHAIN_BYTES;
}

/** The facts once the certificate was looked up in revocation lists that are due then. */
export function lookedUp(
  { listsDueMs: _, ...facts }: VerifiedCertificate,
  listsDueMs: number | undefined,
): VerifiedCertificate {
  return listsDueMs === undefined ? facts : { ...facts, listsDueMs };
}

function readLeaf(certificate: X509Certificate, thumbprint: string): Leaf['facts'] {
  const reason = objectionTo(certificate);
  if (reason !== undefined) return { status: 'refused', reason };
  const names = readAlternativeNames(certificate.subjectAltName ?? '');
  if (names === undefined) return { status: 'refused', reason: 'its alternative names cannot be read' };
  return {
    status: 'verified',
    // OpenSSL escapes newlines within a value, so these stand between values only.
    subject: (certificate.subject ?? '').replaceAll('\n', ', '),
    dnsNames: valuesOf(names, 'DNS'),
    uris: valuesOf(names, 'URI'),
    emails: valuesOf(names, 'email'),
    commonNames: commonNames(certificate),
    serialNumber: serialText(certificate.serialNumber),
    notAfterMs: certificate.validToDate.getTime(),
    alternativeNames: certificate.subjectAltName ?? '',
    thumbprint,
    fingerprint: Buffer.from(thumbprint, 'base64url').toString('hex'),
    der: certificate.raw.toString('base64'),
  };
}

/** One line of the subject is one attribute; OpenSSL escapes what would make it two. */
function commonNames({ subject = '' }: X509Certificate): string[] {
  return subject.split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []));
}

/** Without the root, and no more than one too many. A resumed session remembers the leaf alone. */
export function issuersOf(certificate: X509Certificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let each = certificate.issuerCertificate;
  while (each !== undefined && !each.checkIssued(each) && chain.length <= CHAIN_LENGTH) {
    chain.push(each);
    each = each.issuerCertificate;
  }
  return chain;
}

function objectionTo(certificate: X509Certificate): string | undefined {
  if (certificate.ca) return 'it is the certificate of an authority';
  // Node calls the extended key usages `keyUsage`; without the extension there are none to keep to.
  const usages: readonly string[] | undefined = certificate.keyUsage;
  if (usages !== undefined && !usages.includes(CLIENT_AUTH) && !usages.includes(ANY_PURPOSE))
    return 'it is not for client authentication';
  const { asymmetricKeyType: type = '', asymmetricKeyDetails: details } = certificate.publicKey;
  if (!KEY_TYPES.has(type)) return 'its key type is not accepted';
  if (type.startsWith('rsa') && (details?.modulusLength ?? 0) < MIN_RSA_BITS) return 'its key is too short';
  return undefined;
}

/** One alternative name: its type as OpenSSL writes it, and its value. */
export interface AlternativeName {
  readonly type: string;
  readonly value: string;
}

/** Type and value of one entry; a value with anything unusual in it is a JSON string. */
const ENTRY = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

/**
 * Reads the text of a subjectAltName extension; nothing when any part of it cannot be read. A value with a comma or
 * a quote comes quoted, so that it cannot pass for a further entry (CVE-2021-44532); splitting at commas would undo
 * that.
 */
export function readAlternativeNames(text: string): readonly AlternativeName[] | undefined {
  const names: AlternativeName[] = [];
  ENTRY.lastIndex = 0;
  while (ENTRY.lastIndex < text.length) {
    const [, type, written] = ENTRY.exec(text) ?? [];
    const value = written?.startsWith('"') ? unquote(written) : written;
    if (type === undefined || value === undefined) return undefined;
    names.push({ type, value });
  }
  return names;
}

function unquote(text: string): string | undefined {
  const value = parseJson(text);
  return typeof value === 'string' ? value : undefined;
}

function valuesOf(names: readonly AlternativeName[], type: string): string[] {
  return names.filter((name) => name.type === type).map((name) => name.value);
}
