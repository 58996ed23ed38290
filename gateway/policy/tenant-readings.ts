/** Compiles tenant texts, from disk and from etcd, into candidate tenants, each with its faults. */

import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { fileFault, type PolicyFault } from '../core/fault.ts';
import { compileTenant } from './compile-tenant.ts';
import type { EtcdTexts } from './etcd-tenants.ts';
import type { ListServers, NamedServers } from './list-sources.ts';
import type { TenantReading } from './name-holders.ts';
import type { Policy, Tenant } from './policy.ts';
import type { PolicyFiles, TenantText } from './policy-files.ts';
import { furtherFaults, readFile } from './read.ts';
import { type TenantFile, tenantFile } from './tenant-file.ts';
import { YamlFile } from './yaml-file.ts';

export interface ReadingContext {
  /** The tenants folder; relative paths in texts from etcd start there as well. */
  readonly folder: string;
  readonly servers: ListServers;
  readonly previous: Policy | undefined;
  readonly onCompiled?: TenantWatcher | undefined;
}

export interface TenantWatcher {
  /** Called for each newly compiled tenant without faults; `servers` are those for its lists. */
  onTenant(tenant: Tenant, file: TenantFile, yaml: YamlFile, servers: NamedServers): void;
}

/** Reads the tenant files. If the folder cannot be read, the tenants it held are kept. */
export async function readTenantFiles(
  { texts }: PolicyFiles['tenants'],
  context: ReadingContext,
): Promise<readonly TenantReading[]> {
  return 'problem' in texts ? keptTenants('file', context.previous) : readTexts('file', texts, context);
}

/** Reads the tenants in etcd, or keeps them if etcd was never read. If a tenant also has a file, the file counts. */
export async function readEtcdTenants(
  { texts, isRead }: EtcdTexts,
  files: readonly TenantReading[],
  context: ReadingContext,
): Promise<readonly TenantReading[]> {
  const taken = new Map(files.map((file) => [file.fileName, file]));
  if (!isRead) return keptTenants('etcd', context.previous).filter(({ fileName }) => !taken.has(fileName));
  const readings: TenantReading[] = [];
  const alone: TenantText[] = [];
  for (const text of texts) {
    const file = taken.get(text.fileName);
    if (file === undefined) alone.push(text);
    else readings.push(eclipsedBy(file, text));
  }
  return [...readings, ...(await readTexts('etcd', alone, context))];
}

/** SHA-256, hex, over texts, each prefixed with its length so that no two lists share an input. */
export function textsDigest(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('hex');
}

function keptTenants(origin: Tenant['origin'], previous: Policy | undefined): readonly TenantReading[] {
  const kept = [...(previous?.tenants.values() ?? [])].filter((tenant) => tenant.origin === origin);
  return kept.map((tenant) => ({
    fileName: `${tenant.name}.yaml`,
    origin,
    places: () => new YamlFile(tenant.places.file, ''),
    lastGood: tenant,
    faults: [],
  }));
}

function eclipsedBy(file: TenantReading, { place, fileName }: TenantText): TenantReading {
  const problem = `the tenant also has a file, which takes precedence: ${file.places().file}`;
  return {
    fileName,
    origin: 'etcd',
    places: () => new YamlFile(place, ''),
    faults: [fileFault(place, problem, 'only one of the two')],
  };
}

/** Unchanged texts to check before yielding to the event loop; takes a fraction of a millisecond. */
const UNCHANGED_AT_ONCE = 50;

/** Yields to the event loop before each tenant that has to be compiled. */
async function readTexts(
  origin: Tenant['origin'],
  texts: readonly TenantText[],
  context: ReadingContext,
): Promise<readonly TenantReading[]> {
  const readings: TenantReading[] = [];
  for (const [index, each] of texts.entries()) {
    const unchanged = readUnchanged(origin, each, context);
    if (unchanged === undefined || index % UNCHANGED_AT_ONCE === 0) await turn();
    readings.push(unchanged ?? (await readTenant(origin, each, context)));
  }
  return readings;
}

/** Returns the tenant in force if text, place and servers are the same. */
function readUnchanged(
  origin: Tenant['origin'],
  { place, fileName, text }: TenantText,
  { folder, servers, previous }: ReadingContext,
): TenantReading | undefined {
  const tenant = lastGoodOf(previous, fileName);
  if (tenant === undefined || typeof text !== 'string') return undefined;
  if (tenant.places.file !== place || tenant.digest !== tenantDigest(text, servers)) return undefined;
  return {
    fileName,
    origin,
    places: () => new YamlFile(place, text, confinedTo(origin, folder)),
    read: tenant,
    lastGood: tenant,
    faults: [],
  };
}

async function readTenant(
  origin: Tenant['origin'],
  { place, fileName, text }: TenantText,
  { folder, servers, previous, onCompiled }: ReadingContext,
): Promise<TenantReading> {
  const lastGood = lastGoodOf(previous, fileName);
  const kept = { fileName, origin, ...(lastGood !== undefined && { lastGood }) };
  if (typeof text !== 'string') {
    const faults = [fileFault(place, text.problem)];
    return { ...kept, places: () => new YamlFile(place, ''), faults };
  }
  const file = readFile(place, text, tenantFile, confinedTo(origin, folder));
  const places = (): YamlFile => file.yaml;
  if (file.contents === undefined) {
    const { sound } = file;
    const further = sound && (await compileTenant(sound.places, sound.contents, fileName, servers));
    return {
      ...kept,
      places,
      faults: [...file.faults, ...furtherFaults(file.faults, further?.faults ?? [])],
    };
  }
  const compiled = await compileTenant(file.yaml, file.contents, fileName, servers);
  const faults: PolicyFault[] = [...compiled.faults];
  if (faults.length > 0) return { ...kept, places, faults };
  const read = Object.freeze({ ...compiled.tenant, origin, digest: tenantDigest(text, servers) });
  onCompiled?.onTenant(read, file.contents, file.yaml, servers);
  return { ...kept, places, read, warnings: compiled.warnings, faults };
}

/** Confines paths in a text from etcd to the tenants folder. */
function confinedTo(origin: Tenant['origin'], folder: string): string | undefined {
  return origin === 'etcd' ? folder : undefined;
}

/** Does not cover lists and keys: these are followed, and change within a tenant. */
function tenantDigest(text: string, { etcd, redis }: ListServers): string {
  return textsDigest([text, JSON.stringify([etcd, redis])]);
}

function lastGoodOf(previous: Policy | undefined, fileName: string): Tenant | undefined {
  return fileName.endsWith('.yaml') ? previous?.tenants.get(fileName.slice(0, -5)) : undefined;
}
