/** Token issuers with their keys. */

import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';
import { createFileKeySet, createRemoteKeySet, type KeySet } from './key-set.ts';
import type { Issuer } from './policy.ts';
import type { IssuerFile, TenantFile } from './tenant-file.ts';
import type { Places } from './yaml-file.ts';

const LOOPBACK = /^(?:localhost|127\.[0-9.]+|\[::1\])$/;

/** Keys in files are read now; keys at an address are fetched later, so that loading needs no network. */
export async function compileIssuers(
  places: Places,
  issuers: TenantFile['issuers'],
  onText: (text: string) => void,
): Promise<{ readonly issuers: readonly Issuer[]; readonly faults: readonly PolicyFault[] }> {
  const compiled: Issuer[] = [];
  const faults: PolicyFault[] = [];
  for (const [name, written] of Object.entries(issuers)) {
    if (compiled.some((each) => each.issuer === written.issuer)) {
      faults.push(places.at(['issuers', name, 'issuer'], `another issuer is ${written.issuer}`));
    }
    const keys = await compileKeys(places, name, written, onText);
    if ('problem' in keys) faults.push(keys);
    else compiled.push(compileIssuer(name, written, keys));
  }
  return { issuers: compiled, faults };
}

function compileIssuer(name: string, written: IssuerFile, keys: KeySet): Issuer {
  return {
    name,
    issuer: written.issuer,
    audience: written.audience,
    algorithms: written.algorithms,
    clockSkewMs: written.clockSkew,
    maxLifetimeMs: written.maxLifetime,
    binding: written.binding,
    keys,
  };
}

async function compileKeys(
  places: Places,
  name: string,
  { keys }: IssuerFile,
  onText: (text: string) => void,
): Promise<KeySet | PolicyFault> {
  const path = ['issuers', name, 'keys'];
  if ((keys.jwks === undefined) === (keys.file === undefined)) {
    return places.at(path, 'names no keys, or two kinds of them', 'either jwks or file');
  }
  if (keys.jwks !== undefined) {
    const url = jwksAddress(keys.jwks);
    if (url === undefined)
      return places.at([...path, 'jwks'], `${keys.jwks} is no address for keys`, 'https://…');
    return createRemoteKeySet(url);
  }
  const file = resolve(dirname(places.file), keys.file ?? '');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => error);
  if (text instanceof Error) {
    return places.at([...path, 'file'], `${keys.file} cannot be read: ${text.code ?? text.message}`);
  }
  onText(text);
  const set = createFileKeySet(text);
  return typeof set === 'string' ? places.at([...path, 'file'], `${keys.file}: ${set}`) : set;
}

function jwksAddress(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:') return url;
  return url?.protocol === 'http:' && LOOPBACK.test(url.hostname) ? url : undefined;
}
