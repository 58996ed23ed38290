/** Reads chains, keys, authorities and revocation lists, and reports every rule that a file breaks as a fault. */

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { ClientAuthorities } from './client-authorities.ts';
import type { PemFiles } from './pem-files.ts';
import { type RevocationList, readRevocationLists } from './revocation-list.ts';

/** A certificate chain, leaf first, with the key of its leaf, both PEM; the key is used for TLS and nothing else. */
export interface CertifiedKey {
  readonly chainPem: string;
  readonly keyPem: string;
  readonly keyType: string;
  readonly leaf: X509Certificate;
  /** When the first certificate of the chain expires, milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/** No hyphen inside: otherwise each BEGIN without an END would scan the rest of the file. */
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Decodes one PEM certificate. Throws if it, or its public key, which Node decodes lazily, cannot be decoded. */
export function decodeCertificate(pem: string): X509Certificate {
  const certificate = new X509Certificate(pem);
  void certificate.publicKey;
  return certificate;
}

/**
 * Returns undefined if a file is absent or the chain cannot be decoded. Every problem becomes a fault of `files`, also
 * when a key is returned. `fits`: returns why the leaf is unsuitable, or undefined.
 */
export function readCertifiedKey<Name extends string>(
  files: PemFiles<Name>,
  chainName: Name,
  keyName: Name,
  nowMs: number,
  fits: (leaf: X509Certificate) => string | undefined,
): CertifiedKey | undefined {
  const chainPem = files.text(chainName);
  const keyPem = files.text(keyName);
  if (chainPem === undefined || keyPem === undefined) {
    if (chainPem !== undefined && files.isAbsent(keyName))
      files.fault(keyName, `is missing, although ${chainName} is present`);
    if (keyPem !== undefined && files.isAbsent(chainName))
      files.fault(chainName, `is missing, although ${keyName} is present`);
    return undefined;
  }
  const chain = readCertificates(files, chainName, chainPem);
  const [leaf] = chain;
  if (leaf === undefined) return undefined;
  const misfit = fits(leaf);
  if (misfit !== undefined) files.fault(chainName, misfit, leaf.subjectAltName ?? undefined);
  checkChain(files, chainName, chain, nowMs);
  if (isKeyOf(files, chainName, keyName, leaf, keyPem)) tryOut(files, chainName, chainPem, keyPem);
  return {
    chainPem,
    keyPem,
    keyType: leaf.publicKey.asymmetricKeyType ?? '',
    leaf,
    notAfterMs: Math.min(...chain.map((certificate) => certificate.validToDate.getTime())),
  };
}

/** Certificates that are trusted to issue others; empty if the file is absent or cannot be read. */
export function readAuthorities<Name extends string>(
  files: PemFiles<Name>,
  name: Name,
  nowMs: number,
): readonly X509Certificate[] {
  const pem = files.text(name);
  if (pem === undefined) return [];
  const certificates = readCertificates(files, name, pem);
  for (const [index, certificate] of certificates.entries()) {
    if (!certificate.ca) files.fault(name, `certificate ${index + 1} is not a CA certificate`);
    checkTimes(files, name, certificate, index, nowMs);
  }
  return certificates;
}

/** The authorities of clients, with their revocation lists if there is a file of them. */
export function readClientAuthorities<Name extends string>(
  files: PemFiles<Name>,
  authoritiesName: Name,
  listsName: Name,
  nowMs: number,
): ClientAuthorities {
  const certificates = readAuthorities(files, authoritiesName, nowMs);
  const pem = files.text(listsName);
  return ClientAuthorities.of(
    certificates,
    pem === undefined ? undefined : readLists(files, listsName, pem, certificates),
  );
}

/** Returns every certificate of the file, or none, so that a truncated one does not go unnoticed. */
function readCertificates<Name extends string>(
  files: PemFiles<Name>,
  name: Name,
  pem: string,
): X509Certificate[] {
  const blocks = pem.match(CERTIFICATE) ?? [];
  const begun = pem.split('-----BEGIN').length - 1;
  if (blocks.length === 0 || begun !== blocks.length) {
    files.fault(name, 'contains something other than complete certificates', 'PEM certificates');
    return [];
  }
  const certificates = blocks.flatMap((block, index) => {
    try {
      return [decodeCertificate(block)];
    } catch {
      files.fault(name, `certificate ${index + 1} cannot be read`);
      return [];
    }
  });
  return certificates.length === blocks.length ? certificates : [];
}

/** Checks that each certificate is issued by the next, and that all are valid now. */
function checkChain<Name extends string>(
  files: PemFiles<Name>,
  name: Name,
  chain: readonly X509Certificate[],
  nowMs: number,
): void {
  for (const [index, certificate] of chain.entries()) {
    const issuer = chain[index + 1];
    if (issuer !== undefined && !isIssuedBy(certificate, issuer)) {
      files.fault(name, `certificate ${index + 1} is not issued by certificate ${index + 2}`);
    }
    checkTimes(files, name, certificate, index, nowMs);
  }
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isKeyOf<Name extends string>(
  files: PemFiles<Name>,
  chainName: Name,
  keyName: Name,
  leaf: X509Certificate,
  pem: string,
): boolean {
  try {
    if (leaf.checkPrivateKey(createPrivateKey(pem))) return true;
    files.fault(keyName, `does not match the first certificate of ${chainName}`);
  } catch {
    files.fault(keyName, 'contains no unencrypted private key');
  }
  return false;
}

/** OpenSSL has rules of its own, above all about weak keys and signatures. Cost: about a millisecond. */
function tryOut<Name extends string>(
  files: PemFiles<Name>,
  chainName: Name,
  chainPem: string,
  keyPem: string,
): void {
  try {
    // Without `ca`, Node would load the public authorities.
    createSecureContext({ cert: chainPem, key: keyPem, ca: [] });
  } catch (error) {
    const reason = error instanceof Error && 'reason' in error ? error.reason : error;
    files.fault(chainName, `is rejected by OpenSSL: ${reason}`);
  }
}

/** A list that none of the authorities has signed is a fault: its author could revoke any certificate. */
function readLists<Name extends string>(
  files: PemFiles<Name>,
  name: Name,
  pem: string,
  authorities: readonly X509Certificate[],
): readonly RevocationList[] {
  const found = readRevocationLists(pem);
  if (typeof found === 'string') {
    files.fault(name, found, 'PEM revocation lists');
    return [];
  }
  for (const [index, list] of found.entries()) {
    if (authorities.some((each) => list.isSignedBy(each.publicKey))) continue;
    files.fault(name, `revocation list ${index + 1} is not signed by a client authority`);
  }
  return found;
}

function checkTimes<Name extends string>(
  files: PemFiles<Name>,
  name: Name,
  certificate: X509Certificate,
  index: number,
  nowMs: number,
): void {
  if (certificate.validToDate.getTime() <= nowMs) {
    files.fault(name, `certificate ${index + 1} expired on ${certificate.validTo}`);
  } else if (certificate.validFromDate.getTime() > nowMs) {
    files.fault(name, `certificate ${index + 1} is not valid before ${certificate.validFrom}`);
  }
}
