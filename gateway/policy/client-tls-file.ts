/** TLS towards other servers as it is written, be they nodes, etcd or Redis. */

import { z } from 'zod';

export const tlsVersion = z.enum(['TLSv1.3', 'TLSv1.2']);

/** `servers`: what the gateway speaks to, in the plural. */
export function clientTls(servers: string) {
  const path = z.string().min(1).optional();
  return z.strictObject({
    ca: path.describe(
      `PEM file: the authorities that sign the certificates of ${servers}; the public ones unless given.`,
    ),
    cert: path.describe(`PEM file: the certificate chain the gateway presents to ${servers}.`),
    key: path.describe('PEM file: the key of that certificate.'),
    serverName: z
      .string()
      .optional()
      .describe(
        `The name sent as SNI and required in the certificates of ${servers}; their host unless given.`,
      ),
    minTlsVersion: tlsVersion.prefault('TLSv1.3').describe(`The oldest TLS version used with ${servers}.`),
  });
}

export type ClientTlsFile = z.output<ReturnType<typeof clientTls>>;
