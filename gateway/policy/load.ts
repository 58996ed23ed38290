/** Reads a policy folder whole: the gateway's file and every tenant's with all it refers to. */

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileFault, inFileOrder, type PolicyFault } from '../core/fault.ts';
import { policyOf } from './assemble.ts';
import { compileGateway } from './compile-gateway.ts';
import { compileTenant } from './compile-tenant.ts';
import { type GatewayFile, gatewayFile } from './gateway-file.ts';
import type { ListServers, NamedServers } from './list-sources.ts';
import { settleNames, type TenantReading } from './name-holders.ts';
import type { GatewaySettings, Policy, Tenant } from './policy.ts';
import { furtherFaults, readFile as readPolicyFile } from './read.ts';
import { PolicySources } from './sources.ts';
import { type TenantFile, tenantFile } from './tenant-file.ts';
import { YamlFile } from './yaml-file.ts';

export interface LoadOutcome {
  /** Absent when `gateway.yaml` cannot be used. */
  readonly policy?: Policy;
  /** Every fault of every file. */
  readonly faults: readonly PolicyFault[];
  /** What is allowed and most likely not meant. */
  readonly warnings: readonly PolicyFault[];
}

export interface LoadOptions {
  /** The policy in force. */
  readonly previous?: Policy | undefined;
  /** Follows lists and keys; unless given, those in files are read once and others not at all. */
  readonly sources?: PolicySources;
  readonly onCompiled?: CompilationWatcher | undefined;
}

/** Hears of what can be compiled again from its contents and the places of these. */
export interface CompilationWatcher {
  onGateway(settings: GatewaySettings, file: GatewayFile, yaml: YamlFile): void;
  /** Of tenants that are others than before; `servers` are those of its lists. */
  onTenant(tenant: Tenant, file: TenantFile, yaml: YamlFile, servers: NamedServers): void;
}

/**
 * A fault in a tenant's file, lists or keys keeps that tenant as `previous` has it, or leaves it out,
 * and touches no other. A tenant in which nothing changed stays the same object, remembered tokens and all.
 */
export async function loadPolicy(
  folder: string,
  nowMs: number,
  { previous, sources = new PolicySources({ mode: 'once' }), onCompiled }: LoadOptions = {},
): Promise<LoadOutcome> {
  const file = join(folder, 'gateway.yaml');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => error);
  if (text instanceof Error)
    return { faults: [fileFault(file, `cannot be read: ${text.code ?? text.message}`)], warnings: [] };
  const { yaml, contents, sound, faults: fileFaults } = readPolicyFile(file, text, gatewayFile);
  const compiled = contents === undefined ? undefined : compileGateway(yaml, contents);
  const found = sound === undefined ? compiled : compileGateway(sound.places, sound.contents);
  const faults: PolicyFault[] = [...fileFaults, ...furtherFaults(fileFaults, found?.faults ?? [])];
  const settings = faults.length === 0 ? compiled?.settings : undefined;
  if (settings !== undefined && contents !== undefined) onCompiled?.onGateway(settings, contents, yaml);
  const readings: TenantReading[] = [];
  const servers = { ...listServers(settings ?? previous?.gateway), sources };
  for (const name of await tenantFiles(folder, previous, faults)) {
    readings.push(await readTenant(folder, name, servers, previous, faults, onCompiled));
  }
  const tenants = settleNames(readings, previous, faults);
  const told = { faults: inFileOrder(faults), warnings: readings.flatMap(({ warnings = [] }) => warnings) };
  if (settings === undefined) return told;
  return { policy: assemble(text, settings, tenants, nowMs, previous), ...told };
}

function listServers(settings: GatewaySettings | undefined): Omit<ListServers, 'sources'> {
  return {
    ...(settings?.etcd !== undefined && { etcd: settings.etcd }),
    ...(settings?.state !== undefined && { redis: settings.state.redis }),
  };
}

/** A folder that cannot be read is no reason to drop the tenants it held. */
async function tenantFiles(
  folder: string,
  previous: Policy | undefined,
  faults: PolicyFault[],
): Promise<readonly string[]> {
  const path = join(folder, 'tenants');
  try {
    const names = await readdir(path);
    return names.filter((name) => /\.ya?ml$/.test(name)).sort();
  } catch (error) {
    faults.push(fileFault(path, `cannot be read: ${codeOf(error)}`));
    return [...(previous?.tenants.keys() ?? [])].map((name) => `${name}.yaml`);
  }
}

async function readTenant(
  folder: string,
  fileName: string,
  servers: ListServers,
  previous: Policy | undefined,
  faults: PolicyFault[],
  onCompiled: CompilationWatcher | undefined,
): Promise<TenantReading> {
  const file = join(folder, 'tenants', fileName);
  const lastGood = keepLastGood(previous, fileName);
  const kept = lastGood === undefined ? {} : { lastGood };
  const text = await readFile(file, 'utf8').catch((error: unknown) => ({ code: codeOf(error) }));
  if (typeof text !== 'string') {
    faults.push(fileFault(file, `cannot be read: ${text.code}`));
    return { places: new YamlFile(file, ''), ...kept };
  }
  const { yaml: places, contents, sound, faults: fileFaults } = readPolicyFile(file, text, tenantFile);
  if (contents === undefined) {
    const further = sound && (await compileTenant(sound.places, sound.contents, fileName, servers));
    faults.push(...fileFaults, ...furtherFaults(fileFaults, further?.faults ?? []));
    return { places, ...kept };
  }
  const compiled = await compileTenant(places, contents, fileName, servers);
  faults.push(...compiled.faults);
  if (compiled.faults.length > 0) return { places, ...kept };
  const digest = digestOf([text, ...compiled.texts]);
  const unchanged = lastGood?.digest === digest ? lastGood : undefined;
  const tenant = unchanged ?? Object.freeze({ ...compiled.tenant, digest });
  if (unchanged === undefined) onCompiled?.onTenant(tenant, contents, places, servers);
  return { places, read: tenant, warnings: compiled.warnings, ...kept };
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

function keepLastGood(previous: Policy | undefined, fileName: string): Tenant | undefined {
  return fileName.endsWith('.yaml') ? previous?.tenants.get(fileName.slice(0, -5)) : undefined;
}

function assemble(
  text: string,
  settings: GatewaySettings,
  tenants: readonly Tenant[],
  nowMs: number,
  previous: Policy | undefined,
): Policy {
  const digest = digestOf([text, ...tenants.map((each) => each.digest)]);
  const generation = digest === previous?.digest ? previous.generation : (previous?.generation ?? 0) + 1;
  return policyOf({ generation, digest, loadedAtMs: nowMs, gateway: settings }, tenants);
}

function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('hex');
}
