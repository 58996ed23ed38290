/** TLS towards other servers as it is written, be they nodes, etcd or Redis. */

import { z } from 'zod';

export const tlsVersion = z.enum(['TLSv1.3', 'TLSv1.2']);

/** `servers`: what the gateway speaks to, in the plural. */
export function clientTls(servers: string) {
  const path = z.string().min(1).optional();
  return z.strictObject({
    ca: path.describe(`PEM: authorities of the certificates of ${servers}; else the public ones.`),
    cert: path.describe(`PEM: the chain the gateway shows to ${servers}.`),
    key: path.describe('PEM: its key.'),
    serverName: z
      .string()
      .optional()
      .describe(`The name asked for and found in the certificates of ${servers}, if not their host.`),
    minTlsVersion: tlsVersion.prefault('TLSv1.3').describe(`The oldest TLS version spoken to ${servers}.`),
  });
}

export type ClientTlsFile = z.output<ReturnType<typeof clientTls>>;
