/** Schema of address lists and revocations in a tenant's file. */

import { z } from 'zod';
import { REVOKED_CERTIFICATE, REVOKED_TOKEN, revokedCertificate, revokedToken } from '../lists/revoked.ts';
import { prefix, read } from './schema-types.ts';

export const addressList = z.strictObject({
  cidrs: z.array(prefix).optional().describe('Prefixes, written inline.'),
  file: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File with one prefix per line, optionally followed by `until=2026-12-01T00:00:00Z`; `#` starts a comment.',
    ),
  etcd: z
    .string()
    .min(1)
    .optional()
    .describe('etcd key whose value has one prefix per line, or under which each prefix is a key.'),
  redis: z.string().min(1).optional().describe('Redis set of prefixes, or string with one per line.'),
});

function revoked(entry: ReturnType<typeof read<string>>, description: string) {
  return z
    .strictObject({
      entries: z.array(entry).prefault([]).describe(description),
      file: z
        .string()
        .min(1)
        .optional()
        .describe('File with one entry per line, optionally followed by `until=…`; `#` starts a comment.'),
      etcd: z
        .string()
        .min(1)
        .optional()
        .describe('etcd key whose value has one entry per line, or under which each entry is a key.'),
      redis: z.string().min(1).optional().describe('Redis set of entries, or string with one per line.'),
    })
    .prefault({});
}

export const revocation = z.strictObject({
  crl: z
    .enum(['chain', 'leaf'])
    .prefault('chain')
    .describe(
      'What `clients.crl`, if present, must cover: a list of every authority in the chain (`chain`), or of the issuer alone (`leaf`).',
    ),
  expiredCrl: z
    .enum(['refuse', 'accept'])
    .prefault('refuse')
    .describe(
      'Whether certificates are refused or accepted once a revocation list is past its `nextUpdate`.',
    ),
  certificates: revoked(
    read(revokedCertificate, REVOKED_CERTIFICATE),
    'Revoked certificates: `sha256:…` or `serial:…`, in hexadecimal.',
  ),
  tokens: revoked(
    read(revokedToken, REVOKED_TOKEN),
    'Revoked tokens: `jti:…`, `sub:…`, or `sha256:…` of the certificate a token is bound to or presented with.',
  ),
});
