/** TLS options of the rivals written for Node: mutual TLS, as for all others. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TlsOptions } from 'node:tls';

export function serverTls(certificates: string): TlsOptions {
  const read = (name: string): Buffer => readFileSync(join(certificates, name));
  return {
    cert: read('chain.pem'),
    key: read('key.pem'),
    ca: read('clients.pem'),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  };
}
