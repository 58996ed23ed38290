/** Builds a verified certificate from fields alone, without its bytes. */

import type { VerifiedCertificate } from '../core/facts.ts';

export interface CertificateFields {
  readonly subject: string;
  /** One text for display, as OpenSSL prints it in `DNS:a.test, URI:spiffe://a.test/worker`. */
  readonly alternativeNames: string;
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  readonly emails: readonly string[];
  readonly serialNumber: string;
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string;
}

/** Returns a certificate that never expires, since its expiry is not among the fields. */
export function certificateFromFields(described: CertificateFields): VerifiedCertificate {
  const { subject, fingerprint } = described;
  return {
    ...described,
    status: 'verified',
    commonNames: subject.split(', ').flatMap((part) => (part.startsWith('CN=') ? [part.slice(3)] : [])),
    notAfterMs: Number.POSITIVE_INFINITY,
    thumbprint: Buffer.from(fingerprint, 'hex').toString('base64url'),
    der: '',
    chain: [],
  };
}
