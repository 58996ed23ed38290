/** The PEM files of a server name: each is read to its end, and every rule it breaks is a fault of that file. */

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { ClientAuthorities } from './client-authorities.ts';
import { type RevocationList, readRevocationLists } from './revocation-list.ts';

/** The files a folder may have. */
export const identityFileNames = [
  'chain.pem',
  'key.pem',
  'chain.rsa.pem',
  'key.rsa.pem',
  'clients.pem',
  'clients.crl',
] as const;

export type IdentityFile = (typeof identityFileNames)[number];
type Texts = ReadonlyMap<IdentityFile, string>;

/** Takes down what is wrong with a file. */
export interface FaultTaker {
  fault(name: IdentityFile, problem: string, expected?: string): void;
}

/** A certificate chain, leaf first, with the key of its leaf. PEM both; the key never leaves the TLS contexts. */
export interface CertifiedKey {
  readonly chainPem: string;
  readonly keyPem: string;
  readonly keyType: string;
  readonly leaf: X509Certificate;
  /** When the first certificate of the chain expires, milliseconds since the epoch. */
  readonly notAfterMs: number;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** Nothing when the files are not there, or have faults, which are told. */
export function readCertifiedKey(
  taker: FaultTaker,
  texts: Texts,
  chainName: IdentityFile,
  keyName: IdentityFile,
  serverName: string,
  nowMs: number,
): CertifiedKey | undefined {
  const chainPem = texts.get(chainName);
  const keyPem = texts.get(keyName);
  if (chainPem === undefined || keyPem === undefined) {
    if (chainPem !== undefined) taker.fault(keyName, 'is missing beside its chain');
    if (keyPem !== undefined) taker.fault(chainName, 'is missing beside its key');
    return undefined;
  }
  const chain = readCertificates(taker, chainName, chainPem);
  const [leaf] = chain;
  if (leaf === undefined) return undefined;
  checkChain(taker, chainName, chain, serverName, nowMs);
  checkKey(taker, chainName, keyName, leaf, keyPem);
  return {
    chainPem,
    keyPem,
    keyType: leaf.publicKey.asymmetricKeyType ?? '',
    leaf,
    notAfterMs: Math.min(...chain.map((certificate) => certificate.validToDate.getTime())),
  };
}

/** Nothing when there is no file of them, or it has faults, which are told. */
export function readClientAuthorities(
  taker: FaultTaker,
  texts: Texts,
  nowMs: number,
): ClientAuthorities | undefined {
  const pem = texts.get('clients.pem');
  if (pem === undefined) return undefined;
  const certificates = readCertificates(taker, 'clients.pem', pem);
  for (const [index, certificate] of certificates.entries()) {
    if (!certificate.ca) taker.fault('clients.pem', `certificate ${index + 1} is no authority`);
    checkTimes(taker, 'clients.pem', certificate, index, nowMs);
  }
  const listPem = texts.get('clients.crl');
  return new ClientAuthorities(
    certificates,
    listPem === undefined ? undefined : lists(taker, listPem, certificates),
  );
}

/** Every certificate of the file; one that is cut short would otherwise go unnoticed. */
function readCertificates(taker: FaultTaker, name: IdentityFile, pem: string): X509Certificate[] {
  const blocks = pem.match(CERTIFICATE) ?? [];
  const begun = pem.split('-----BEGIN').length - 1;
  if (blocks.length === 0 || begun !== blocks.length) {
    taker.fault(name, 'holds something else than whole certificates', 'PEM certificates');
    return [];
  }
  return blocks.flatMap((block, index) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      taker.fault(name, `certificate ${index + 1} cannot be read`);
      return [];
    }
  });
}

/** Leaf first, each issued by the next, the leaf for this name, all of them valid now. */
function checkChain(
  taker: FaultTaker,
  name: IdentityFile,
  chain: readonly X509Certificate[],
  serverName: string,
  nowMs: number,
): void {
  for (const [index, certificate] of chain.entries()) {
    if (index === 0 && !covers(certificate, serverName)) {
      const problem = `the first certificate is not for ${serverName}`;
      taker.fault(name, problem, certificate.subjectAltName ?? undefined);
    }
    const issuer = chain[index + 1];
    if (issuer !== undefined && !isIssuedBy(certificate, issuer)) {
      taker.fault(name, `certificate ${index + 1} is not issued by certificate ${index + 2}`);
    }
    checkTimes(taker, name, certificate, index, nowMs);
  }
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function checkKey(
  taker: FaultTaker,
  chainName: IdentityFile,
  keyName: IdentityFile,
  leaf: X509Certificate,
  pem: string,
): void {
  try {
    if (leaf.checkPrivateKey(createPrivateKey(pem))) return;
    taker.fault(keyName, `does not fit the first certificate of ${chainName}`);
  } catch {
    taker.fault(keyName, 'holds no private key without passphrase');
  }
}

/** A list nobody of the file has signed would revoke whatever its author likes. */
function lists(
  taker: FaultTaker,
  pem: string,
  authorities: readonly X509Certificate[],
): readonly RevocationList[] {
  const found = readRevocationLists(pem);
  if (typeof found === 'string') {
    taker.fault('clients.crl', found, 'PEM revocation lists');
    return [];
  }
  for (const [index, list] of found.entries()) {
    if (authorities.some((each) => list.isSignedBy(each.publicKey))) continue;
    taker.fault('clients.crl', `revocation list ${index + 1} is not signed by an authority of clients.pem`);
  }
  return found;
}

function checkTimes(
  taker: FaultTaker,
  name: IdentityFile,
  certificate: X509Certificate,
  index: number,
  nowMs: number,
): void {
  if (certificate.validToDate.getTime() <= nowMs) {
    taker.fault(name, `certificate ${index + 1} expired on ${certificate.validTo}`);
  } else if (certificate.validFromDate.getTime() > nowMs) {
    taker.fault(name, `certificate ${index + 1} is not valid before ${certificate.validFrom}`);
  }
}

/** A wildcard name needs the same wildcard in the certificate; a subject alone counts for nothing (RFC 9525 §6.3). */
function covers(leaf: X509Certificate, serverName: string): boolean {
  const name = serverName.replace(/^\*\./, 'a.');
  if (leaf.checkHost(name, { subject: 'never' }) === undefined) return false;
  const written = (leaf.subjectAltName ?? '').toLowerCase().split(', ');
  return name === serverName || written.includes(`dns:${serverName}`);
}
