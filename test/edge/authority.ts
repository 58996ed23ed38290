/** Certificates for the tests of the edge: an authority with leaves and revocation lists of every wrong kind. */

// The container inside @peculiar/x509 needs this when it loads.
import 'reflect-metadata';
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  X509CrlGenerator,
  X509CrlReason,
} from '@peculiar/x509';

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const RSA_EXPONENT = new Uint8Array([1, 0, 1]);
const DAY_MS = 86_400_000;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

export interface Leaf {
  readonly certPem: string;
  readonly keyPem: string;
  readonly serial: string;
}

export interface LeafOptions {
  readonly names?: JsonGeneralNames;
  readonly usages?: readonly string[];
  readonly isAuthority?: boolean;
  readonly rsaBits?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export const purposes = { clientAuth: CLIENT_AUTH, serverAuth: SERVER_AUTH } as const;

/** Serial numbers are positive: their first bit is clear. */
const serialNumber = (): string => `01${randomBytes(8).toString('hex')}`;

function algorithmOf(rsaBits: number | undefined) {
  return rsaBits === undefined
    ? SIGNING
    : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: RSA_EXPONENT, modulusLength: rsaBits };
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

export interface TestAuthority {
  readonly certPem: string;
  leaf(commonName: string, options?: LeafOptions): Promise<Leaf>;
  revocationList(serials: readonly string[]): Promise<string>;
}

export async function createTestAuthority(commonName: string): Promise<TestAuthority> {
  const keys = await webcrypto.subtle.generateKey(SIGNING, true, ['sign', 'verify']);
  const now = Date.now();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=${commonName}`,
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + 30 * DAY_MS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 1, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  const issuer = certificate.subject;
  return {
    certPem: certificate.toString('pem'),
    async leaf(name, options = {}) {
      const algorithm = algorithmOf(options.rsaBits);
      const leafKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
      const serial = serialNumber();
      const made = await X509CertificateGenerator.create({
        serialNumber: serial,
        subject: `CN=${name}`,
        issuer,
        notBefore: options.notBefore ?? new Date(now - DAY_MS),
        notAfter: options.notAfter ?? new Date(now + DAY_MS),
        signingAlgorithm: SIGNING,
        publicKey: leafKeys.publicKey,
        signingKey: keys.privateKey,
        extensions: [
          new BasicConstraintsExtension(options.isAuthority ?? false, undefined, true),
          ...(options.usages === undefined ? [] : [new ExtendedKeyUsageExtension([...options.usages])]),
          ...(options.names === undefined ? [] : [new SubjectAlternativeNameExtension(options.names)]),
        ],
      });
      return { certPem: made.toString('pem'), keyPem: await pemOf(leafKeys.privateKey), serial };
    },
    async revocationList(serials) {
      const list = await X509CrlGenerator.create({
        issuer,
        thisUpdate: new Date(now - DAY_MS),
        nextUpdate: new Date(now + DAY_MS),
        signingAlgorithm: SIGNING,
        signingKey: keys.privateKey,
        entries: serials.map((serial) => ({
          serialNumber: serial,
          revocationDate: new Date(now - 1000),
          reason: X509CrlReason.keyCompromise,
        })),
      });
      // The library names the block differently from OpenSSL (RFC 7468 §6).
      return list.toString('pem').replaceAll(/(BEGIN|END) CRL/g, '$1 X509 CRL');
    },
  };
}
