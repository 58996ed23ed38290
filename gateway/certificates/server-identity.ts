/** What a server name shows in its handshakes and whom it trusts there: its folder, read and checked whole. */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileFault, type PolicyFault } from '../policy/fault.ts';
import {
  type CertifiedKey,
  type IdentityFile,
  identityFileNames,
  readCertifiedKey,
  readClientAuthorities,
} from './certificate-files.ts';
import type { ClientAuthorities } from './client-authorities.ts';

/** One server name's material; every text was read and checked in the same pass. */
export interface ServerIdentity {
  /** As the policy writes it, `*.` for a wildcard. */
  readonly serverName: string;
  /** One, or two with different kinds of key: the handshake takes what the caller can verify. */
  readonly keys: readonly CertifiedKey[];
  /** Absent where no client certificate is asked for. */
  readonly clients?: ClientAuthorities;
  /** When the first certificate of a chain expires, milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** SHA-256, hex, over all of it. */
  readonly digest: string;
}

/** The folder of a server name: `_.example.com` for `*.example.com`. */
export function identityFolder(certificates: string, serverName: string): string {
  return join(certificates, serverName.replace(/^\*\./, '_.'));
}

/** Every file whose change may change the identity. */
export function identityFiles(folder: string): readonly string[] {
  return identityFileNames.map((name) => join(folder, name));
}

/** Reads and checks a folder; `needsClients` is false where the name asks for no client certificates. */
export async function readIdentity(
  certificates: string,
  serverName: string,
  needsClients: boolean,
  nowMs: number,
): Promise<ServerIdentity | readonly PolicyFault[]> {
  const folder = new IdentityFolder(identityFolder(certificates, serverName));
  const texts = await folder.read();
  const required: readonly IdentityFile[] = needsClients
    ? ['chain.pem', 'key.pem', 'clients.pem']
    : ['chain.pem', 'key.pem'];
  for (const name of required) if (!texts.has(name)) folder.fault(name, 'cannot be read: ENOENT');
  const keys = [
    readCertifiedKey(folder, texts, 'chain.pem', 'key.pem', serverName, nowMs),
    readCertifiedKey(folder, texts, 'chain.rsa.pem', 'key.rsa.pem', serverName, nowMs),
  ].filter((each) => each !== undefined);
  const [first, second] = keys;
  if (second !== undefined && first?.keyType === second.keyType) {
    folder.fault('key.rsa.pem', `is a ${second.keyType} key like key.pem`);
  }
  const clients = needsClients ? readClientAuthorities(folder, texts, nowMs) : undefined;
  if (folder.faults.length > 0) return folder.faults;
  return {
    serverName,
    keys,
    ...(clients !== undefined && { clients }),
    notAfterMs: Math.min(...keys.map((key) => key.notAfterMs)),
    digest: digestOf(texts, needsClients),
  };
}

function digestOf(texts: ReadonlyMap<IdentityFile, string>, needsClients: boolean): string {
  const hash = createHash('sha256');
  for (const name of identityFileNames) {
    if (!needsClients && name.startsWith('clients')) continue;
    const text = texts.get(name);
    hash.update(`${name} ${text?.length ?? 'none'}:${text ?? ''}`);
  }
  return hash.digest('hex');
}

/** The files of one folder and what is wrong with them. */
class IdentityFolder {
  readonly faults: PolicyFault[] = [];
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** The files that are there. */
  async read(): Promise<ReadonlyMap<IdentityFile, string>> {
    const texts = new Map<IdentityFile, string>();
    for (const name of identityFileNames) {
      try {
        texts.set(name, await readFile(join(this.#path, name), 'utf8'));
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
        if (code !== 'ENOENT') this.fault(name, `cannot be read: ${code}`);
      }
    }
    return texts;
  }

  fault(name: IdentityFile, problem: string, expected?: string): void {
    this.faults.push(fileFault(join(this.#path, name), problem, expected));
  }
}
