/** What may be published of the certificates of a server name or upstream: never a key. */

import type { X509Certificate } from 'node:crypto';
import type { CertifiedKey } from './certificate-files.ts';
import type { NodeIdentity } from './node-identity.ts';
import type { ServerIdentity } from './server-identity.ts';

export interface IdentitySummary {
  readonly server_name: string;
  readonly chains: readonly ChainSummary[];
  readonly client_authorities: readonly AuthoritySummary[];
  /** Absent if there is no file of revocation lists. */
  readonly crl?: { readonly revoked: number; readonly next_update?: string };
}

export interface ChainSummary {
  readonly subject: string;
  readonly issuer: string;
  readonly names: string;
  readonly key: string;
  readonly not_after: string;
}

export interface AuthoritySummary {
  readonly subject: string;
  readonly not_after: string;
}

export function describeIdentity({ serverName, keys, clients }: ServerIdentity): IdentitySummary {
  const revoked = clients?.revoked;
  const nextUpdateMs = clients?.nextUpdateMs;
  return {
    server_name: serverName,
    chains: keys.map(describeKey),
    client_authorities: (clients?.authorities ?? []).map(({ certificate }) => describeAuthority(certificate)),
    ...(revoked !== undefined && {
      crl: {
        revoked,
        ...(nextUpdateMs !== undefined && { next_update: new Date(nextUpdateMs).toISOString() }),
      },
    }),
  };
}

export interface NodeIdentitySummary {
  /** Absent if no certificate is presented to the nodes. */
  readonly chain?: ChainSummary;
  /** Absent if the public authorities are trusted. */
  readonly authorities?: readonly AuthoritySummary[];
}

export function describeNodeIdentity({ key, authorities }: NodeIdentity): NodeIdentitySummary {
  return {
    ...(key !== undefined && { chain: describeKey(key) }),
    ...(authorities !== undefined && { authorities: authorities.map(describeAuthority) }),
  };
}

function describeKey({ leaf, keyType, notAfterMs }: CertifiedKey): ChainSummary {
  return {
    subject: oneLine(leaf.subject),
    issuer: oneLine(leaf.issuer),
    names: leaf.subjectAltName ?? '',
    key: keyType,
    not_after: new Date(notAfterMs).toISOString(),
  };
}

function describeAuthority({ subject, validToDate }: X509Certificate): AuthoritySummary {
  return { subject: oneLine(subject), not_after: validToDate.toISOString() };
}

/** OpenSSL escapes newlines within a value, so a newline only separates attributes. */
function oneLine(name = ''): string {
  return name.replaceAll('\n', ', ');
}
