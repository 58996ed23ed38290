/** A verified certificate of which some things are told and no bytes are there. */

import type { VerifiedCertificate } from '../core/facts.ts';

export interface CertificateFields {
  readonly subject: string;
  /** As OpenSSL would print them. */
  readonly alternativeNames: string;
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  readonly emails: readonly string[];
  readonly serialNumber: string;
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string;
}

/** Valid whenever it is looked at: whether it had expired is not told. */
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
