/** Reads a policy folder whole: the gateway's file, every tenant's, and the certificates of every server name. */

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readIdentity, type ServerIdentity } from './certificates.ts';
import { compileGateway } from './compile-gateway.ts';
import { compileTenant } from './compile-tenant.ts';
import { fileFault, inFileOrder, type PolicyFault } from './fault.ts';
import { gatewayFile } from './gateway-file.ts';
import type { ClientCertificateMode, GatewaySettings, Policy, Tenant } from './policy.ts';
import { furtherFaults, readFile as readPolicyFile } from './read.ts';
import { tenantFile } from './tenant-file.ts';

export interface LoadOutcome {
  /** Absent when `gateway.yaml` cannot be used. */
  readonly policy?: Policy;
  /** Every fault of every file. */
  readonly faults: readonly PolicyFault[];
}

interface LoadedTenant {
  readonly tenant: Tenant;
  readonly identities: readonly ServerIdentity[];
}

/**
 * A fault in a tenant's file, lists, keys or certificates keeps that tenant as `previous` has it, or leaves it out,
 * and touches no other. A tenant in which nothing changed stays the same object, remembered tokens and all.
 */
export async function loadPolicy(folder: string, nowMs: number, previous?: Policy): Promise<LoadOutcome> {
  const file = join(folder, 'gateway.yaml');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => error);
  if (text instanceof Error)
    return { faults: [fileFault(file, `cannot be read: ${text.code ?? text.message}`)] };
  const { yaml, contents, sound, faults: fileFaults } = readPolicyFile(file, text, gatewayFile);
  const written = contents ?? sound;
  const compiled = written && compileGateway(yaml, written);
  const faults: PolicyFault[] = [...fileFaults, ...furtherFaults(fileFaults, compiled?.faults ?? [])];
  const settings = faults.length === 0 ? compiled?.settings : undefined;
  const tenants = new Map<string, Tenant>();
  const identities = new Map<string, ServerIdentity>();
  for (const name of await tenantFiles(folder, faults)) {
    const loaded = await loadTenant(folder, name, settings, nowMs, previous, faults);
    if (loaded === undefined || claimsTaken(loaded.tenant, tenants, join(folder, 'tenants', name), faults))
      continue;
    tenants.set(loaded.tenant.name, loaded.tenant);
    for (const identity of loaded.identities) identities.set(identity.serverName, identity);
  }
  if (settings === undefined) return { faults: inFileOrder(faults) };
  const policy = assemble(text, settings, tenants, identities, nowMs, previous);
  return { policy, faults: inFileOrder(faults) };
}

async function tenantFiles(folder: string, faults: PolicyFault[]): Promise<string[]> {
  const path = join(folder, 'tenants');
  try {
    const names = await readdir(path);
    return names.filter((name) => /\.ya?ml$/.test(name)).sort();
  } catch (error) {
    faults.push(fileFault(path, error instanceof Error ? error.message : String(error)));
    return [];
  }
}

async function loadTenant(
  folder: string,
  fileName: string,
  settings: GatewaySettings | undefined,
  nowMs: number,
  previous: Policy | undefined,
  faults: PolicyFault[],
): Promise<LoadedTenant | undefined> {
  const file = join(folder, 'tenants', fileName);
  const lastGood = keepLastGood(previous, fileName.replace(/\.ya?ml$/, ''));
  const text = await readFile(file, 'utf8').catch((error: Error) => error);
  if (text instanceof Error) {
    faults.push(fileFault(file, `cannot be read: ${text.message}`));
    return lastGood;
  }
  const { yaml, contents, sound, faults: fileFaults } = readPolicyFile(file, text, tenantFile);
  if (contents === undefined) {
    const found = sound === undefined ? [] : (await compileTenant(yaml, sound, fileName)).faults;
    faults.push(...fileFaults, ...furtherFaults(fileFaults, found));
    return lastGood;
  }
  const compiled = await compileTenant(yaml, contents, fileName);
  const { identities, faults: identityFaults } = await loadIdentities(compiled.tenant, settings, nowMs);
  faults.push(...compiled.faults, ...identityFaults);
  if (compiled.faults.length + identityFaults.length > 0) return lastGood;
  const digest = digestOf([text, ...compiled.texts]);
  const unchanged = previous?.tenants.get(compiled.tenant.name);
  const tenant = unchanged?.digest === digest ? unchanged : Object.freeze({ ...compiled.tenant, digest });
  return { tenant, identities };
}

function keepLastGood(previous: Policy | undefined, name: string): LoadedTenant | undefined {
  const tenant = previous?.tenants.get(name);
  if (tenant === undefined) return undefined;
  const identities = tenant.serverNames.map((each) => previous?.identities.get(each));
  return { tenant, identities: identities.filter((each) => each !== undefined) };
}

async function loadIdentities(
  tenant: Omit<Tenant, 'digest'>,
  settings: GatewaySettings | undefined,
  nowMs: number,
): Promise<{ identities: readonly ServerIdentity[]; faults: readonly PolicyFault[] }> {
  const identities: ServerIdentity[] = [];
  const faults: PolicyFault[] = [];
  if (settings === undefined) return { identities, faults };
  const modes: readonly ClientCertificateMode[] = tenant.clientCertificates
    ? [tenant.clientCertificates]
    : settings.listeners.map((listener) => listener.clientCertificates);
  const needsClients = modes.some((mode) => mode !== 'none');
  for (const serverName of tenant.serverNames) {
    const identity = await readIdentity(settings.certificates, serverName, needsClients, nowMs);
    if ('digest' in identity) identities.push(identity);
    else faults.push(...identity);
  }
  return { identities, faults };
}

/** Two tenants with one server name, or one name for two: whose certificate would it be? The first keeps it. */
function claimsTaken(
  tenant: Tenant,
  tenants: ReadonlyMap<string, Tenant>,
  file: string,
  faults: PolicyFault[],
): boolean {
  const before = faults.length;
  for (const other of tenants.values()) {
    if (other.name === tenant.name) faults.push(fileFault(file, `another file is tenant ${tenant.name}`));
    for (const name of tenant.serverNames) {
      if (other.serverNames.includes(name))
        faults.push(fileFault(file, `tenant ${other.name} has ${name} already`));
    }
  }
  return faults.length > before;
}

function assemble(
  text: string,
  settings: GatewaySettings,
  tenants: ReadonlyMap<string, Tenant>,
  identities: ReadonlyMap<string, ServerIdentity>,
  nowMs: number,
  previous: Policy | undefined,
): Policy {
  const names = [...tenants.values()].flatMap((tenant) =>
    tenant.serverNames.map((name) => [name, tenant] as const),
  );
  const digests = [...tenants.values()].map((tenant) => tenant.digest);
  const digest = digestOf([text, ...digests, ...[...identities.values()].map((each) => each.digest)]);
  return Object.freeze({
    generation: digest === previous?.digest ? previous.generation : (previous?.generation ?? 0) + 1,
    digest,
    loadedAtMs: nowMs,
    gateway: Object.freeze(settings),
    tenants,
    identities,
    serverNames: new Map(names),
  });
}

function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('hex');
}
