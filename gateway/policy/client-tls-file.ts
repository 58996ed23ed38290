/** Schema of the TLS settings for connections to other servers: nodes, etcd and Redis. */

import { z } from 'zod';

export const tlsVersion = z.enum(['TLSv1.3', 'TLSv1.2']);

const path = z.string().min(1).optional();

export const clientTls = z.strictObject({
  ca: path.describe(
    "PEM file: the authorities that sign the server's certificate; the public ones unless given.",
  ),
  cert: path.describe('PEM file: the certificate chain the gateway presents.'),
  key: path.describe('PEM file: the key of that certificate.'),
  serverName: z
    .string()
    .optional()
    .describe("The name sent as SNI and required in the server's certificate; the host unless given."),
  minTlsVersion: tlsVersion.prefault('TLSv1.3').describe('The oldest TLS version used.'),
});

export type ClientTlsFile = z.output<typeof clientTls>;
