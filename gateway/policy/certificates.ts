/** What a server name shows in its handshakes: chain, key and client authorities from its folder, checked whole. */

import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { fileFault, type PolicyFault } from './fault.ts';

/** One server name's material; every text was read and checked in the same pass. */
export interface ServerIdentity {
  /** As the policy writes it, `*.` for a wildcard. */
  readonly serverName: string;
  readonly chainPem: string;
  readonly keyPem: string;
  /** Client authorities, one PEM each; empty where no client certificate is asked for. */
  readonly clientCas: readonly string[];
  readonly crlPem?: string;
  /** When the first certificate of the chain expires, milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** SHA-256, hex, over all of it. */
  readonly digest: string;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const REVOCATION_LIST = /-----BEGIN X509 CRL-----[\s\S]+?-----END X509 CRL-----/g;

/** The folder of a server name: `_.example.com` for `*.example.com`. */
export function identityFolder(certificates: string, serverName: string): string {
  return join(certificates, serverName.replace(/^\*\./, '_.'));
}

/** Reads and checks a folder; `needsClients` is false where the name asks for no client certificates. */
export async function readIdentity(
  certificates: string,
  serverName: string,
  needsClients: boolean,
  nowMs: number,
): Promise<ServerIdentity | readonly PolicyFault[]> {
  const folder = identityFolder(certificates, serverName);
  const files = new IdentityFiles(folder);
  const chainPem = await files.read('chain.pem');
  const keyPem = await files.read('key.pem');
  const clientsPem = needsClients ? await files.read('clients.pem') : '';
  const crlPem = needsClients ? await files.readIfThere('clients.crl') : undefined;
  if (files.faults.length > 0) return files.faults;
  const chain = files.certificates('chain.pem', chainPem);
  const clients = needsClients ? files.certificates('clients.pem', clientsPem) : [];
  files.checkChain(chain, serverName, nowMs);
  files.checkKey(chain[0], keyPem);
  files.checkAuthorities(clients, nowMs);
  if (crlPem !== undefined) files.checkRevocations(crlPem);
  if (files.faults.length > 0) return files.faults;
  const digest = createHash('sha256');
  for (const text of [chainPem, keyPem, clientsPem, crlPem ?? '']) digest.update(`${text.length}:${text}`);
  return {
    serverName,
    chainPem,
    keyPem,
    clientCas: clients.map((certificate) => certificate.toString()),
    ...(crlPem !== undefined && { crlPem }),
    notAfterMs: Math.min(...chain.map((certificate) => Date.parse(certificate.validTo))),
    digest: digest.digest('hex'),
  };
}

/** The files of one folder and what is wrong with them. */
class IdentityFiles {
  readonly faults: PolicyFault[] = [];
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async read(name: string): Promise<string> {
    const text = await this.readIfThere(name);
    if (text === undefined) this.#fault(name, 'cannot be read: ENOENT');
    return text ?? '';
  }

  async readIfThere(name: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.#folder, name), 'utf8');
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      if (code === 'ENOENT') return undefined;
      this.#fault(name, `cannot be read: ${code}`);
      return '';
    }
  }

  /** Every certificate of the file; one that is cut short would otherwise go unnoticed. */
  certificates(name: string, pem: string): X509Certificate[] {
    const blocks = pem.match(CERTIFICATE) ?? [];
    const begun = pem.split('-----BEGIN').length - 1;
    if (blocks.length === 0 || begun !== blocks.length) {
      this.#fault(name, 'holds something else than whole certificates', 'PEM certificates');
      return [];
    }
    return blocks.flatMap((block, index) => {
      try {
        return [new X509Certificate(block)];
      } catch {
        this.#fault(name, `certificate ${index + 1} cannot be read`);
        return [];
      }
    });
  }

  /** Leaf first, each issued by the next, the leaf for this name, all of them valid now. */
  checkChain(chain: readonly X509Certificate[], serverName: string, nowMs: number): void {
    const [leaf] = chain;
    if (leaf === undefined) return;
    if (!covers(leaf, serverName)) {
      this.#fault(
        'chain.pem',
        `the first certificate is not for ${serverName}`,
        leaf.subjectAltName ?? undefined,
      );
    }
    for (const [index, certificate] of chain.entries()) {
      const issuer = chain[index + 1];
      if (
        issuer !== undefined &&
        !(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))
      ) {
        this.#fault('chain.pem', `certificate ${index + 1} is not issued by certificate ${index + 2}`);
      }
      this.#checkTimes('chain.pem', certificate, index, nowMs);
    }
  }

  checkKey(leaf: X509Certificate | undefined, pem: string): void {
    if (leaf === undefined) return;
    try {
      if (leaf.checkPrivateKey(createPrivateKey(pem))) return;
      this.#fault('key.pem', 'does not fit the first certificate of chain.pem');
    } catch {
      this.#fault('key.pem', 'holds no private key without passphrase');
    }
  }

  checkAuthorities(clients: readonly X509Certificate[], nowMs: number): void {
    for (const [index, certificate] of clients.entries()) {
      if (!certificate.ca) this.#fault('clients.pem', `certificate ${index + 1} is no authority`);
      this.#checkTimes('clients.pem', certificate, index, nowMs);
    }
  }

  /** A list that cannot be read would revoke nothing, or end every handshake. */
  checkRevocations(pem: string): void {
    const blocks = pem.match(REVOCATION_LIST) ?? [];
    const begun = pem.split('-----BEGIN').length - 1;
    if (blocks.length === 0 || begun !== blocks.length) {
      this.#fault('clients.crl', 'holds something else than whole revocation lists', 'PEM revocation lists');
      return;
    }
    for (const [index, block] of blocks.entries()) {
      try {
        createSecureContext({ crl: block });
      } catch {
        this.#fault('clients.crl', `revocation list ${index + 1} cannot be read`);
      }
    }
  }

  #checkTimes(name: string, certificate: X509Certificate, index: number, nowMs: number): void {
    if (Date.parse(certificate.validTo) <= nowMs) {
      this.#fault(name, `certificate ${index + 1} expired on ${certificate.validTo}`);
    } else if (Date.parse(certificate.validFrom) > nowMs) {
      this.#fault(name, `certificate ${index + 1} is not valid before ${certificate.validFrom}`);
    }
  }

  #fault(name: string, problem: string, expected?: string): void {
    this.faults.push(fileFault(join(this.#folder, name), problem, expected));
  }
}

/** A wildcard name needs the same wildcard in the certificate; a subject alone counts for nothing (RFC 9525 §6.3). */
function covers(leaf: X509Certificate, serverName: string): boolean {
  const name = serverName.replace(/^\*\./, 'a.');
  if (leaf.checkHost(name, { subject: 'never' }) === undefined) return false;
  const written = (leaf.subjectAltName ?? '').toLowerCase().split(', ');
  return name === serverName || written.includes(`dns:${serverName}`);
}
