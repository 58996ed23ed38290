/** What a server name presents in handshakes and whom it trusts there: its folder, read and checked as a whole. */

import { createHash, type X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';
import { type CertifiedKey, readCertifiedKey, readClientAuthorities } from './certificate-files.ts';
import type { ClientAuthorities } from './client-authorities.ts';
import type { IdentitySource } from './identity-store.ts';
import { PemFiles } from './pem-files.ts';

/** The files that a folder may have. */
const FILES = ['chain.pem', 'key.pem', 'chain.rsa.pem', 'key.rsa.pem', 'clients.pem', 'clients.crl'] as const;
type IdentityFile = (typeof FILES)[number];

/** The identity of one server name; all files were read and checked in the same pass. */
export interface ServerIdentity {
  /** As written in the policy, `*.` for a wildcard. */
  readonly serverName: string;
  /** One, or two with different key types: the handshake uses the one that the caller can verify. */
  readonly keys: readonly CertifiedKey[];
  /** Absent if no client certificate is requested. */
  readonly clients?: ClientAuthorities;
  /** When the first certificate of a chain expires, milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** SHA-256, hex, over all files. */
  readonly digest: string;
}

/** The folder of a server name: `_.example.com` for `*.example.com`. */
export function identityFolder(certificates: string, serverName: string): string {
  return join(certificates, serverName.replace(/^\*\./, '_.'));
}

/** How to read the folder of a server name; `needsClients` is false if it requests no client certificates. */
export function serverIdentitySource(
  certificates: string,
  serverName: string,
  needsClients: boolean,
): IdentitySource<ServerIdentity> {
  return {
    key: `${certificates} ${serverName} ${needsClients}`,
    label: serverName,
    files: () => [...pathsIn(certificates, serverName).values()],
    read: (nowMs) => readIdentity(certificates, serverName, needsClients, nowMs),
  };
}

function pathsIn(certificates: string, serverName: string): ReadonlyMap<IdentityFile, string> {
  const folder = identityFolder(certificates, serverName);
  return new Map(FILES.map((name) => [name, join(folder, name)]));
}

async function readIdentity(
  certificates: string,
  serverName: string,
  needsClients: boolean,
  nowMs: number,
): Promise<ServerIdentity | readonly PolicyFault[]> {
  const files = await PemFiles.read(
    pathsIn(certificates, serverName),
    needsClients ? ['chain.pem', 'key.pem', 'clients.pem'] : ['chain.pem', 'key.pem'],
  );
  const fits = (leaf: X509Certificate): string | undefined =>
    covers(leaf, serverName) ? undefined : `the first certificate is not for ${serverName}`;
  const keys = [
    readCertifiedKey(files, 'chain.pem', 'key.pem', nowMs, fits),
    readCertifiedKey(files, 'chain.rsa.pem', 'key.rsa.pem', nowMs, fits),
  ].filter((each) => each !== undefined);
  const [first, second] = keys;
  if (second !== undefined && first?.keyType === second.keyType) {
    files.fault('key.rsa.pem', `has the same key type as key.pem, ${second.keyType}`);
  }
  const clients = needsClients
    ? readClientAuthorities(files, 'clients.pem', 'clients.crl', nowMs)
    : undefined;
  if (files.faults.length > 0) return files.faults;
  return {
    serverName,
    keys,
    ...(clients !== undefined && { clients }),
    notAfterMs: Math.min(...keys.map((key) => key.notAfterMs)),
    digest: digestOf(files, needsClients),
  };
}

function digestOf(files: PemFiles<IdentityFile>, needsClients: boolean): string {
  const hash = createHash('sha256');
  for (const name of FILES) {
    if (!needsClients && name.startsWith('clients')) continue;
    const text = files.text(name);
    hash.update(`${name} ${text?.length ?? 'none'}:${text ?? ''}`);
  }
  return hash.digest('hex');
}

/** A wildcard name needs the same wildcard in the certificate; the subject alone does not count (RFC 9525 §6.3). */
function covers(leaf: X509Certificate, serverName: string): boolean {
  const name = serverName.replace(/^\*\./, 'a.');
  if (leaf.checkHost(name, { subject: 'never' }) === undefined) return false;
  const written = (leaf.subjectAltName ?? '').toLowerCase().split(', ');
  return name === serverName || written.includes(`dns:${serverName}`);
}
