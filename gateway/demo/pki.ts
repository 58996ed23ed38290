/** A small certificate authority for development and tests: ECDSA P-256, short validity, the usual extensions. */

// tsyringe, a dependency of @peculiar/x509, requires this when it loads.
import 'reflect-metadata';
import { createHash, createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
  X509CrlReason,
} from '@peculiar/x509';

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
/** Clocks of peers may be a little behind. */
const BACKDATE_MS = 3_600_000;
const AUTHORITY_DAYS = 30;
const LEAF_DAYS = 14;

export interface Validity {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface ServerRequest extends Validity {
  readonly dnsNames: readonly string[];
  readonly addresses?: readonly string[];
  /** Also valid for client authentication: an etcd member presents it to itself. */
  readonly alsoClient?: boolean;
}

export interface ClientRequest extends Validity {
  /** Empty for none. */
  readonly commonName: string;
  readonly dnsNames?: readonly string[];
  readonly uris?: readonly string[];
  readonly emails?: readonly string[];
}

/** A certificate and its key, both PEM. */
export interface IssuedPair {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** Hexadecimal. */
  readonly serialNumber: string;
  /** SHA-256 of the DER encoding, base64url: `cnf.x5t#S256` of a token bound to it (RFC 8705 §3.1). */
  readonly thumbprint: string;
}

export interface Authority {
  readonly certificatePem: string;
  issueServer(request: ServerRequest): Promise<IssuedPair>;
  issueClient(request: ClientRequest): Promise<IssuedPair>;
  /** Resolves to a CRL with these certificates, PEM. `nextUpdate` defaults to a day from now. */
  revocationList(revoked: readonly IssuedPair[], nextUpdate?: Date): Promise<string>;
}

interface Subject extends Validity {
  readonly commonName: string;
  readonly usages: readonly string[];
  readonly names: JsonGeneralNames;
}

/** Creates an authority with a self-signed certificate. */
export async function createAuthority(commonName: string): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(SIGNING, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=${commonName}`,
    ...validity({}, AUTHORITY_DAYS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return new KeyedAuthority(certificate, keys);
}

class KeyedAuthority implements Authority {
  readonly certificatePem: string;
  readonly #certificate: X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  constructor(certificate: X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.certificatePem = `${certificate.toString('pem')}\n`;
  }

  issueServer({
    dnsNames,
    addresses = [],
    alsoClient = false,
    ...times
  }: ServerRequest): Promise<IssuedPair> {
    const names: JsonGeneralNames = [
      ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ...addresses.map((value) => ({ type: 'ip' as const, value })),
    ];
    return this.#issue({
      commonName: dnsNames[0] ?? '',
      usages: [ExtendedKeyUsage.serverAuth, ...(alsoClient ? [ExtendedKeyUsage.clientAuth] : [])],
      names,
      ...times,
    });
  }

  issueClient({
    commonName,
    dnsNames = [],
    uris = [],
    emails = [],
    ...times
  }: ClientRequest): Promise<IssuedPair> {
    const names: JsonGeneralNames = [
      ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ...uris.map((value) => ({ type: 'url' as const, value })),
      ...emails.map((value) => ({ type: 'email' as const, value })),
    ];
    return this.#issue({ commonName, usages: [ExtendedKeyUsage.clientAuth], names, ...times });
  }

  async revocationList(revoked: readonly IssuedPair[], nextUpdate?: Date): Promise<string> {
    const list = await X509CrlGenerator.create({
      issuer: this.#certificate.subject,
      thisUpdate: new Date(Date.now() - BACKDATE_MS),
      nextUpdate: nextUpdate ?? new Date(Date.now() + DAY_MS),
      signingAlgorithm: SIGNING,
      signingKey: this.#keys.privateKey,
      entries: revoked.map((pair) => ({
        serialNumber: pair.serialNumber,
        revocationDate: new Date(Date.now() - 1000),
        reason: X509CrlReason.keyCompromise,
      })),
    });
    // The library labels the block `CRL`, but RFC 7468 §6 and OpenSSL `X509 CRL`.
    return `${list.toString('pem').replaceAll(/(BEGIN|END) CRL/g, '$1 X509 CRL')}\n`;
  }

  async #issue(subject: Subject): Promise<IssuedPair> {
    const keys = await webcrypto.subtle.generateKey(SIGNING, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: subject.commonName === '' ? '' : `CN=${subject.commonName}`,
      issuer: this.#certificate.subject,
      ...validity(subject, LEAF_DAYS),
      signingAlgorithm: SIGNING,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: await this.#extensions(subject, keys.publicKey),
    });
    return {
      certificatePem: `${certificate.toString('pem')}\n`,
      privateKeyPem: await pemOf(keys.privateKey),
      serialNumber: certificate.serialNumber,
      thumbprint: createHash('sha256').update(Buffer.from(certificate.rawData)).digest('base64url'),
    };
  }

  async #extensions({ usages, names }: Subject, publicKey: webcrypto.CryptoKey): Promise<Extension[]> {
    return [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([...usages]),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(this.#keys.publicKey),
      ...(names.length === 0 ? [] : [new SubjectAlternativeNameExtension(names)]),
    ];
  }
}

/** 16 random bytes but the first, which is 01: a serial number must be positive (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  return `01${randomBytes(15).toString('hex')}`;
}

function validity({ notBefore, notAfter }: Validity, days: number): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: notBefore ?? new Date(Date.now() - BACKDATE_MS),
    notAfter: notAfter ?? new Date(Date.now() + days * DAY_MS),
  };
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}
