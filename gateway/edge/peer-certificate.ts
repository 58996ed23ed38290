/** Reads client certificates, once for each connection, and checks what chain verification leaves open. */

import { hash, type X509Certificate } from 'node:crypto';
import { serialText } from '../certificates/der.ts';
import type { VerifiedCertificate } from '../core/facts.ts';
import { parseJson } from '../core/json-value.ts';

/** A certificate that is refused although it chains to the right authority. */
export interface RefusedCertificate {
  readonly status: 'refused';
  readonly reason: string;
}

/** Maximum number of authorities between a client and its root. */
const CHAIN_LENGTH = 8;
/** Maximum size of all certificates together, DER: nodes get them in fields of a request head. */
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

/** What was read from certificates: most handshakes are by workers that connected before. */
export class KnownLeaves {
  /** By thumbprint, least recently seen first. */
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
 * The facts of a certificate whose chain was verified, or why it is refused. Chain verification does not check that the
 * certificate is valid now (a resumed session carries an old verdict), is not a CA, may authenticate clients (RFC 5280
 * §4.2.1.12) and has a strong enough key, nor that the chain is short and small.
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

/** Whether a certificate and all that came with it exceed `CHAIN_BYTES`, whether trusted or not. */
export function isOversized(certificate: X509Certificate): boolean {
  let bytes = 0;
  let each: X509Certificate | undefined = certificate;
  for (; each !== undefined && bytes <= CHAIN_BYTES; each = each.issuerCertificate) bytes += each.raw.length;
  return bytes > CHAIN_BYTES;
}

/** The facts after a lookup in revocation lists, the first of which expires at `listsDueMs`. */
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
    // OpenSSL escapes newlines within a value, so a newline only separates values.
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

/** One line of the subject is one attribute: OpenSSL escapes newlines within a value. */
function commonNames({ subject = '' }: X509Certificate): string[] {
  return subject.split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []));
}

/** Without the root, and at most `CHAIN_LENGTH` + 1. A resumed session has only the leaf. */
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
  if (certificate.ca) return 'it is a CA certificate';
  // Node calls the extended key usages `keyUsage`; a certificate without the extension is not restricted.
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

/** Type and value of one entry; an unusual value is a JSON string: `DNS:a.test, DNS:"b, c"`. */
const ENTRY = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

/**
 * Parses the text of a subjectAltName extension; returns undefined if any part cannot be parsed. A value with a comma
 * or a quote is quoted, so that it cannot pass for another entry (CVE-2021-44532); splitting at commas would undo that.
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
