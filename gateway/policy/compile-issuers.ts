/** Compiles the token issuers of a tenant and their key sets. */

import { withoutCredentials } from '../core/credentials.ts';
import type { PolicyFault } from '../core/fault.ts';
import { FileKeySet, type KeySet, keysReader } from '../keys/key-set.ts';
import { followLists, type ListServers } from './list-sources.ts';
import type { Path, Places } from './places.ts';
import type { Issuer } from './policy.ts';
import type { IssuerFile, TenantFile } from './tenant-file.ts';

const LOOPBACK = /^(?:localhost|127\.[0-9.]+|\[::1\])$/;

/** Reads key files before it resolves. Keys at a URL are fetched later, so that loading needs no network. */
export async function compileIssuers(
  places: Places,
  { tenant, issuers }: Pick<TenantFile, 'tenant' | 'issuers'>,
  servers: ListServers,
): Promise<{ readonly issuers: readonly Issuer[]; readonly faults: readonly PolicyFault[] }> {
  const compiled: Issuer[] = [];
  const faults: PolicyFault[] = [];
  for (const [name, written] of Object.entries(issuers)) {
    if (compiled.some((each) => each.issuer === written.issuer)) {
      faults.push(places.at(['issuers', name, 'issuer'], `duplicate issuer ${written.issuer}`));
    }
    const keys = await compileKeys(places, tenant, name, written, servers);
    if ('verify' in keys) compiled.push(compileIssuer(name, written, keys));
    else faults.push(...keys);
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
  tenant: string,
  name: string,
  { keys: { jwks, file, refresh: refreshMs, keep: keepMs } }: IssuerFile,
  servers: ListServers,
): Promise<KeySet | readonly PolicyFault[]> {
  const path = ['issuers', name, 'keys'];
  if ((jwks === undefined) === (file === undefined)) {
    return [places.at(path, 'has neither or both of jwks and file', 'exactly one of them')];
  }
  if (jwks !== undefined) {
    const url = jwksAddress(jwks);
    if (url === undefined)
      return [places.at([...path, 'jwks'], `${withoutCredentials(jwks)} is not a JWKS address`, 'https://…')];
    if (keepMs < refreshMs) return [places.at([...path, 'keep'], 'is shorter than refresh')];
    return servers.sources.keys.remote(tenant, name, url, { refreshMs, keepMs });
  }
  const { lists, faults } = await followLists(places, path, { file }, servers, keysReader);
  const all = [...faults, ...fetchOnly(places, path)];
  const [list] = lists;
  return list === undefined || all.length > 0 ? all : new FileKeySet(list);
}

/** Returns a fault for each key that only applies to fetches; a file is followed instead. */
function fetchOnly(places: Places, path: Path): readonly PolicyFault[] {
  const written = places.keys(path).filter((key) => key === 'refresh' || key === 'keep');
  return written.map((key) => places.at([...path, key], 'has no effect on a key file', 'jwks'));
}

function jwksAddress(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:') return url;
  return url?.protocol === 'http:' && LOOPBACK.test(url.hostname) ? url : undefined;
}
