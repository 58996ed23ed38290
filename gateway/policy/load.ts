/** Reads a whole policy: `gateway.yaml`, and every tenant's text with all it refers to. */

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
  /** Absent if `gateway.yaml` cannot be used. */
  readonly policy?: Policy;
  readonly files: PolicyFiles;
  /** All faults of all files. */
  readonly faults: readonly PolicyFault[];
  /** All faults of the texts in etcd. They do not prevent a start, since one writer there affects every gateway. */
  readonly etcdFaults: readonly PolicyFault[];
  /** What is legal but probably unintended. */
  readonly warnings: readonly PolicyFault[];
}

export interface LoadOptions {
  /** The policy in force. */
  readonly previous?: Policy | undefined;
  /** `gateway.yaml` of the policy in force; kept if the one on disk requires a restart. */
  readonly gatewayInForce?: PolicyFiles['gateway'] | undefined;
  /** Follows lists, keys and tenants in etcd. By default, files are read once and servers are not contacted. */
  readonly sources?: PolicySources;
  /** Used instead of reading the folder. */
  readonly files?: PolicyFiles | undefined;
  readonly onCompiled?: CompilationWatcher | undefined;
}

/** Receives everything that was compiled without a fault, with its contents and their places. */
export interface CompilationWatcher extends TenantWatcher {
  onGateway(settings: GatewaySettings, file: GatewayFile, yaml: YamlFile): void;
}

/**
 * Loads the policy. A fault in a tenant's text, lists or keys keeps that tenant as in `previous`, or leaves it out, and
 * affects no other. An unchanged tenant stays the same object and keeps its remembered tokens.
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
 * Returns `settings` if there are no faults, or only changes that require a restart: then the settings in force stay,
 * and tenants are still loaded. Returns no `text` if the file cannot be read.
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

/** Files come first: a server name claimed in both places goes to the file, unless the other tenant already has it. */
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
