/** Certificates of every shape, made by openssl so that the project does not only read what it wrote itself. */

import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Options of `openssl req -newkey`. */
export const keyKinds = {
  ec: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa: ['rsa:2048'],
  ed25519: ['ed25519'],
  /** Too weak for TLS. */
  weak: ['rsa:1024'],
} as const;

export interface IssueOptions {
  /** The name of the certificate that signs this one; absent, it signs itself. */
  readonly by?: string;
  /** Lines of the extension section; without them it is an authority. */
  readonly extensions?: string;
  readonly kind?: keyof typeof keyKinds;
  /** The common name, if not that of the files. */
  readonly subject?: string;
}

const AUTHORITY = 'basicConstraints=critical,CA:true\nsubjectKeyIdentifier=hash\n';

/** A folder of certificates; each has a name, under which its files are found and others are signed by it. */
export class OpensslFolder {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes `<name>.pem` and `<name>.key`. */
  issue(name: string, options: IssueOptions = {}): void {
    const { by, extensions = AUTHORITY, kind = 'ec', subject = name } = options;
    const newKey = ['-newkey', ...keyKinds[kind], '-nodes', '-keyout', `${name}.key`];
    this.#run('req', '-new', ...newKey, '-subj', `/CN=${subject}`, '-out', `${name}.csr`);
    writeFileSync(this.#at('extensions'), extensions);
    const signer =
      by === undefined
        ? ['-signkey', `${name}.key`]
        : ['-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial'];
    const request = ['-req', '-in', `${name}.csr`, ...signer, '-days', '5', '-extfile', 'extensions'];
    this.#run('x509', ...request, '-out', `${name}.pem`);
  }

  certificate(name: string): string {
    return readFileSync(this.#at(`${name}.pem`), 'utf8');
  }

  key(name: string): string {
    return readFileSync(this.#at(`${name}.key`), 'utf8');
  }

  revoke(by: string, name: string): void {
    this.#run('ca', '-config', this.#ledger(by), '-revoke', `${name}.pem`);
  }

  /** Makes the revocation list of an authority, due again in three days. */
  list(by: string): string {
    this.#run('ca', '-config', this.#ledger(by), '-gencrl', '-out', `${by}.crl`);
    return readFileSync(this.#at(`${by}.crl`), 'utf8');
  }

  /** Where `openssl ca` notes what an authority has revoked. */
  #ledger(by: string): string {
    const config = this.#at(`${by}.cnf`);
    const at = (ending: string): string => this.#at(`${by}.${ending}`);
    if (!existsSync(at('db'))) {
      writeFileSync(at('db'), '');
      writeFileSync(at('number'), '01\n');
    }
    const lines = [
      '[ca]\ndefault_ca=d\n[d]',
      `database=${at('db')}`,
      `crlnumber=${at('number')}`,
      `certificate=${at('pem')}`,
      `private_key=${at('key')}`,
      'default_md=sha256\ndefault_crl_days=3\n',
    ];
    writeFileSync(config, lines.join('\n'));
    return config;
  }

  #at(file: string): string {
    return join(this.#folder, file);
  }

  #run(...args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: 'pipe' });
  }
}

/** A certificate whose public key is no point of the curve; Node notices only when asked for that key. */
export function damaged(pem: string): string {
  const { raw, publicKey } = new X509Certificate(pem);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const last = raw.indexOf(spki) + spki.length - 1;
  raw.writeUInt8(raw.readUInt8(last) ^ 1, last);
  return `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----\n`;
}
