/** Policies as parcels: what was written, already read and checked, with its places; it is compiled where it arrives. */

import { basename } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';
import { type Prefix, parsePrefix } from '../core/address.ts';
import { compileGateway } from '../policy/compile-gateway.ts';
import { type CompiledTenant, compileTenant } from '../policy/compile-tenant.ts';
import type { GatewayFile } from '../policy/gateway-file.ts';
import type { NamedServers } from '../policy/list-sources.ts';
import type { CompilationWatcher } from '../policy/load.ts';
import { Outline, outlineOf } from '../policy/outline.ts';
import type { GatewaySettings, Tenant } from '../policy/policy.ts';
import type { SourcesOfPolicy } from '../policy/sources.ts';
import type { RouteFile, TenantFile } from '../policy/tenant-file.ts';
import type { YamlFile } from '../policy/yaml-file.ts';
import type { Parcel } from './parcel.ts';

interface PlacedHead {
  readonly file: string;
  /** Of the outline. */
  readonly names: readonly string[];
}

interface TenantHead extends PlacedHead {
  readonly servers: NamedServers;
}

/** Routes, or prefixes, that are read or parsed in one go; between two goes all other work has its turn. */
const PIECE = 64;
const PREFIX_PIECE = 1024;
/** Columns before those of the contents: the outline. */
const OUTLINE_COLUMNS = 3;

/** The forms of what is compiled here, as long as it lives. */
export class CompiledForms implements CompilationWatcher {
  readonly #settings = new WeakMap<GatewaySettings, Parcel>();
  readonly #tenants = new WeakMap<Tenant, Parcel>();

  onGateway(settings: GatewaySettings, file: GatewayFile, yaml: YamlFile): void {
    this.#settings.set(settings, packGateway(file, yaml));
  }

  onTenant(tenant: Tenant, file: TenantFile, yaml: YamlFile, servers: NamedServers): void {
    this.#tenants.set(tenant, packTenant(file, yaml, servers));
  }

  /** Throws for what was compiled while nobody watched, which is a bug in the wiring. */
  ofGateway(settings: GatewaySettings): Parcel {
    return known(this.#settings.get(settings));
  }

  /** As `ofGateway`. */
  ofTenant(tenant: Tenant): Parcel {
    return known(this.#tenants.get(tenant));
  }
}

function known(form: Parcel | undefined): Parcel {
  if (form === undefined) throw new Error('a policy whose contents nobody kept');
  return form;
}

function packTenant(file: TenantFile, yaml: YamlFile, { etcd, redis }: NamedServers): Parcel {
  const { routes, addresses, ...contents } = file;
  const { lines, ends, steps, names } = outlineOf(yaml).tables;
  const written = Object.entries(addresses).map(([name, list]) => [name, textsOf(list, 'cidrs')] as const);
  const groups: Buffer[] = [];
  for (let from = 0; from < routes.length; from += PIECE)
    groups.push(serialize(routes.slice(from, from + PIECE)));
  const servers = { ...(etcd !== undefined && { etcd }), ...(redis !== undefined && { redis }) };
  const head: TenantHead = { file: yaml.file, names, servers };
  return { head, columns: [lines, ends, steps, serialize({ ...contents, addresses: written }), ...groups] };
}

function packGateway(file: GatewayFile, yaml: YamlFile): Parcel {
  const { lines, ends, steps, names } = outlineOf(yaml).tables;
  const { listeners, ...gateway } = file.gateway;
  const written = listeners.map((listener) => textsOf(listener, 'trustedProxies'));
  const head: PlacedHead = { file: yaml.file, names };
  return { head, columns: [lines, ends, steps, serialize({ ...gateway, listeners: written })] };
}

/** Prefixes as their texts: as objects they would be copied without what reads them. */
function textsOf<T extends object, K extends keyof T & string>(holder: T, key: K): object {
  const prefixes = holder[key] as readonly Prefix[] | undefined;
  return prefixes === undefined ? holder : { ...holder, [key]: prefixes.map(({ text }) => text) };
}

async function prefixesOf<T extends object, K extends keyof T & string>(holder: T, key: K): Promise<T> {
  const texts = holder[key] as readonly string[] | undefined;
  if (texts === undefined) return holder;
  const prefixes: Prefix[] = [];
  for (const text of texts) {
    const prefix = parsePrefix(text);
    if (typeof prefix === 'string') throw new TypeError(prefix);
    if (prefixes.push(prefix) % PREFIX_PIECE === 0) await nextTurn();
  }
  return { ...holder, [key]: prefixes };
}

/** Compiles a tenant, in pieces. Throws when the parcel is none, or has faults. */
export async function compileHandedTenant(
  parcel: Parcel,
  digest: string,
  sources: SourcesOfPolicy,
): Promise<Tenant> {
  const { file, servers } = parcel.head as TenantHead;
  const [contents, ...groups] = parcel.columns.slice(OUTLINE_COLUMNS);
  const { addresses: written, ...rest } = read<HandedTenantFile>(contents);
  const addresses: [string, AddressesFile][] = [];
  for (const [name, list] of written) addresses.push([name, await prefixesOf(list, 'cidrs')]);
  const routes: RouteFile[] = [];
  for (const group of groups) {
    routes.push(...read<RouteFile[]>(group));
    await nextTurn();
  }
  const whole = { ...rest, routes, addresses: Object.fromEntries(addresses) };
  const compiled = await compileTenant(readOutline(parcel), whole, basename(file), { ...servers, sources });
  return tenantOf(compiled, digest);
}

type AddressesFile = TenantFile['addresses'][string];
interface HandedTenantFile extends Omit<TenantFile, 'routes' | 'addresses'> {
  readonly addresses: readonly [string, AddressesFile][];
}

function tenantOf({ tenant, faults }: CompiledTenant, digest: string): Tenant {
  const [fault] = faults;
  if (fault !== undefined) throw new TypeError(`${fault.path} ${fault.problem}`);
  return Object.freeze({ ...tenant, digest });
}

/** Throws when the parcel is none. */
export async function compileHandedGateway(parcel: Parcel): Promise<GatewaySettings> {
  const { listeners, ...gateway } = read<GatewayFile['gateway']>(parcel.columns[OUTLINE_COLUMNS]);
  const handed: typeof listeners = [];
  for (const listener of listeners) handed.push(await prefixesOf(listener, 'trustedProxies'));
  return compileGateway(readOutline(parcel), { gateway: { ...gateway, listeners: handed } }).settings;
}

function readOutline({ head, columns }: Parcel): Outline {
  const { file, names } = head as PlacedHead;
  const [lines, ends, steps] = columns;
  if (!(lines instanceof Uint32Array && ends instanceof Uint32Array && steps instanceof Uint32Array))
    throw new TypeError('a policy without its places');
  return new Outline(file, { lines, ends, steps, names });
}

function read<T>(column: Parcel['columns'][number] | undefined): T {
  if (!(column instanceof Uint8Array)) throw new TypeError('a policy without its contents');
  return deserialize(column) as T;
}
