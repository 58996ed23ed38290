/** Reads a policy whole: the gateway's file and every tenant's text with all it refers to. */

import { fileFault, inFileOrder, type PolicyFault } from '../core/fault.ts';
import type { EtcdAddress } from '../lists/etcd-server.ts';
import type { RedisAddress } from '../lists/redis-server.ts';
import { policyOf } from './assemble.ts';
import { compileGateway } from './compile-gateway.ts';
import type { EtcdPlace, EtcdTexts } from './etcd-tenants.ts';
import { type GatewayFile, gatewayFile } from './gateway-file.ts';
import type { GatewaySettings, SharedState } from './gateway-settings.ts';
import { heldFaults } from './held-settings.ts';
import type { NamedServers } from './list-sources.ts';
import { settleNames, type TenantReading } from './name-holders.ts';
import type { Policy, Tenant } from './policy.ts';
import { type PolicyFiles, readPolicyFiles } from './policy-files.ts';
import { furtherFaults, readFile as readPolicyFile } from './read.ts';
import { PolicySources } from './sources.ts';
import {
  type ReadingContext,
  readEtcdTenants,
  readTenantFiles,
  type TenantWatcher,
  textsDigest,
} from './tenant-readings.ts';
import type { YamlFile } from './yaml-file.ts';

export interface LoadOutcome {
  /** Absent when `gateway.yaml` cannot be used. */
  readonly policy?: Policy;
  /** The files that were read. */
  readonly files: PolicyFiles;
  /** Every fault of every file. */
  readonly faults: readonly PolicyFault[];
  /** Every fault of what is written in etcd: no reason not to start, for whoever writes there writes to all gateways. */
  readonly etcdFaults: readonly PolicyFault[];
  /** What is allowed and most likely not meant. */
  readonly warnings: readonly PolicyFault[];
}

export interface LoadOptions {
  /** The policy in force. */
  readonly previous?: Policy | undefined;
  /** Of the policy in force: it stays where another one has to wait for a restart. */
  readonly gatewayInForce?: PolicyFiles['gateway'] | undefined;
  /** Follows lists, keys and tenants in etcd; unless given, those in files are read once and others not at all. */
  readonly sources?: PolicySources;
  /** In place of what is on disk now. */
  readonly files?: PolicyFiles | undefined;
  readonly onCompiled?: CompilationWatcher | undefined;
}

/** Hears of what can be compiled again from its contents and the places of these. */
export interface CompilationWatcher extends TenantWatcher {
  onGateway(settings: GatewaySettings, file: GatewayFile, yaml: YamlFile): void;
}

/**
 * A fault in a tenant's text, lists or keys keeps that tenant as `previous` has it, or leaves it out,
 * and touches no other. A tenant in which nothing changed stays the same object, remembered tokens and all.
 */
export async function loadPolicy(
  folder: string,
  nowMs: number,
  options: LoadOptions = {},
): Promise<LoadOutcome> {
  const { previous, sources = new PolicySources({ mode: 'once' }), onCompiled } = options;
  const files = options.files ?? (await readPolicyFiles(folder));
  const { text, settings, faults: gatewayFaults } = readGateway(files, options);
  if (text === undefined) return { files, faults: gatewayFaults, etcdFaults: [], warnings: [] };
  const known = settings ?? previous?.gateway;
  const servers = { ...listServers(known), sources };
  const context = { folder: files.tenants.folder, servers, previous, onCompiled };
  const etcd = await sources.tenants.read(etcdPlace(known));
  const readings = await readTenants(files, etcd, context);
  const tenants = settleNames(readings, previous);
  const faultsIn = (origin: Tenant['origin']): readonly PolicyFault[] =>
    readings.flatMap((reading) => (reading.origin === origin ? reading.faults : []));
  const told = {
    files,
    faults: inFileOrder([...gatewayFaults, ...folderFaults(files), ...faultsIn('file')]),
    etcdFaults: inFileOrder([...etcd.faults, ...faultsIn('etcd')]),
    warnings: readings.flatMap(({ warnings = [] }) => warnings),
  };
  if (settings === undefined) return told;
  return { policy: assemble(text, settings, tenants, nowMs, previous), ...told };
}

/**
 * `settings` only where there is no fault, or none but that something has to wait for a restart: then those in force
 * stay, and tenants go on. Without a text nothing can be looked at.
 */
function readGateway(
  { gateway: { place, text } }: PolicyFiles,
  { previous, gatewayInForce, onCompiled }: LoadOptions,
): {
  readonly text?: string;
  readonly settings?: GatewaySettings;
  readonly faults: readonly PolicyFault[];
} {
  if (typeof text !== 'string') return { faults: [fileFault(place, text.problem)] };
  const { yaml, contents, sound, faults: fileFaults } = readPolicyFile(place, text, gatewayFile);
  const compiled = contents === undefined ? undefined : compileGateway(yaml, contents);
  const found = sound === undefined ? compiled : compileGateway(sound.places, sound.contents);
  const faults = [...fileFaults, ...furtherFaults(fileFaults, found?.faults ?? [])];
  if (faults.length > 0 || contents === undefined || compiled === undefined) return { text, faults };
  const held = previous === undefined ? [] : heldFaults(yaml, previous.gateway, compiled.settings);
  if (previous !== undefined && held.length > 0) {
    const kept = typeof gatewayInForce?.text === 'string' ? gatewayInForce.text : text;
    return { text: kept, faults: held, settings: previous.gateway };
  }
  onCompiled?.onGateway(compiled.settings, contents, yaml);
  return { text, faults, settings: compiled.settings };
}

/** Files come first: a server name that is asked for in both places is theirs, unless the other had it. */
async function readTenants(
  { tenants }: PolicyFiles,
  etcd: EtcdTexts,
  context: ReadingContext,
): Promise<readonly TenantReading[]> {
  const files = await readTenantFiles(tenants, context);
  return [...files, ...(await readEtcdTenants(etcd, files, context))];
}

function folderFaults({ tenants: { folder, texts } }: PolicyFiles): readonly PolicyFault[] {
  return 'problem' in texts ? [fileFault(folder, texts.problem)] : [];
}

function listServers(settings: GatewaySettings | undefined): NamedServers {
  return {
    ...(settings?.etcd !== undefined && { etcd: etcdAddress(settings.etcd) }),
    ...(settings?.state !== undefined && { redis: redisAddress(settings.state) }),
  };
}

function etcdAddress({ endpoints, access }: EtcdAddress): EtcdAddress {
  return { endpoints, ...(access !== undefined && { access }) };
}

function redisAddress({ redis: url, access }: SharedState): RedisAddress {
  return { url, ...(access !== undefined && { access }) };
}

function etcdPlace(settings: GatewaySettings | undefined): EtcdPlace | undefined {
  const { etcd } = settings ?? {};
  return etcd?.tenants === undefined ? undefined : { at: etcdAddress(etcd), tenants: etcd.tenants };
}

function assemble(
  text: string,
  settings: GatewaySettings,
  tenants: readonly Tenant[],
  nowMs: number,
  previous: Policy | undefined,
): Policy {
  const digest = textsDigest([text, ...tenants.map((each) => each.digest)]);
  const { generation, loadedAtMs } =
    digest === previous?.digest
      ? previous
      : { generation: (previous?.generation ?? 0) + 1, loadedAtMs: nowMs };
  return policyOf({ generation, digest, loadedAtMs, gateway: settings }, tenants);
}
