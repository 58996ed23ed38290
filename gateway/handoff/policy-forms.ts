/** Packs policies into parcels: the parsed and checked files with their positions. They are compiled on arrival. */

import { basename } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';
import { type Prefix, parsePrefix } from '../core/address.ts';
import { compileGateway } from '../policy/compile-gateway.ts';
import { type CompiledTenant, compileTenant } from '../policy/compile-tenant.ts';
import type { GatewayFile } from '../policy/gateway-file.ts';
import type { GatewaySettings } from '../policy/gateway-settings.ts';
import type { NamedServers } from '../policy/list-sources.ts';
import type { CompilationWatcher } from '../policy/load.ts';
import { Outline, outlineOf } from '../policy/outline.ts';
import type { Tenant } from '../policy/policy.ts';
import type { SourcesOfPolicy } from '../policy/sources.ts';
import type { RouteFile, TenantFile } from '../policy/tenant-file.ts';
import type { YamlFile } from '../policy/yaml-file.ts';
import type { Parcel } from './parcel.ts';

interface PlacedHead {
  readonly folder?: string;
  readonly file: string;
  /** The names of the outline. */
  readonly names: readonly string[];
}

interface TenantHead extends PlacedHead {
  readonly origin: Tenant['origin'];
  readonly servers: NamedServers;
}

/** Routes and prefixes read in one turn of the event loop. */
const PIECE = 64;
const PREFIX_PIECE = 1024;
/** The first columns are the outline; the contents follow. */
const OUTLINE_COLUMNS = 3;

/** The forms of everything compiled here, for as long as it lives; each is created when it is first asked for. */
export class CompiledForms implements CompilationWatcher {
  #forms: WeakMap<GatewaySettings | Tenant, Parcel | (() => Parcel)> | undefined = new WeakMap();

  onGateway(settings: GatewaySettings, file: GatewayFile, yaml: YamlFile): void {
    this.#forms?.set(settings, () => packGateway(file, yaml));
  }

  onTenant(tenant: Tenant, file: TenantFile, yaml: YamlFile, servers: NamedServers): void {
    this.#forms?.set(tenant, () => packTenant(tenant, file, yaml, servers));
  }

  /** Throws for what was compiled unwatched, which is a bug in the wiring. */
  of(compiled: GatewaySettings | Tenant): Parcel {
    const known = this.#forms?.get(compiled);
    if (known === undefined) throw new Error('no form was kept for this policy');
    if (typeof known !== 'function') return known;
    const form = known();
    this.#forms?.set(compiled, form);
    return form;
  }

  /** No form will be asked for any more. */
  close(): void {
    this.#forms = undefined;
  }
}

function packTenant(
  { origin }: Tenant,
  file: TenantFile,
  yaml: YamlFile,
  { etcd, redis }: NamedServers,
): Parcel {
  const { routes, addresses, ...contents } = file;
  const { lines, ends, steps, names } = outlineOf(yaml).tables;
  const written = Object.entries(addresses).map(([name, list]) => [name, textsOf(list, 'cidrs')] as const);
  const groups: Buffer[] = [];
  for (let from = 0; from < routes.length; from += PIECE)
    groups.push(serialize(routes.slice(from, from + PIECE)));
  const servers = { ...(etcd !== undefined && { etcd }), ...(redis !== undefined && { redis }) };
  const head: TenantHead = { ...placed(yaml, names), origin, servers };
  return { head, columns: [lines, ends, steps, serialize({ ...contents, addresses: written }), ...groups] };
}

function placed({ file, folder }: YamlFile, names: readonly string[]): PlacedHead {
  return { file, names, ...(folder !== undefined && { folder }) };
}

function packGateway(file: GatewayFile, yaml: YamlFile): Parcel {
  const { lines, ends, steps, names } = outlineOf(yaml).tables;
  const { listeners, ...gateway } = file.gateway;
  const written = listeners.map((listener) => textsOf(listener, 'trustedProxies'));
  return {
    head: placed(yaml, names),
    columns: [lines, ends, steps, serialize({ ...gateway, listeners: written })],
  };
}

/** Replaces prefixes by their texts: a structured clone would lose their methods. */
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

/** Compiles a tenant, in pieces. Throws if the parcel is not a tenant or the tenant has faults. */
export async function compileHandedTenant(
  parcel: Parcel,
  digest: string,
  sources: SourcesOfPolicy,
): Promise<Tenant> {
  const { file, servers, origin } = parcel.head as TenantHead;
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
  return tenantOf(compiled, origin, digest);
}

type AddressesFile = TenantFile['addresses'][string];
interface HandedTenantFile extends Omit<TenantFile, 'routes' | 'addresses'> {
  readonly addresses: readonly [string, AddressesFile][];
}

function tenantOf({ tenant, faults }: CompiledTenant, origin: Tenant['origin'], digest: string): Tenant {
  const [fault] = faults;
  if (fault !== undefined) throw new TypeError(`${fault.path} ${fault.problem}`);
  return Object.freeze({ ...tenant, origin, digest });
}

/** Throws if the parcel does not hold gateway settings. */
export async function compileHandedGateway(parcel: Parcel): Promise<GatewaySettings> {
  const { listeners, ...gateway } = read<GatewayFile['gateway']>(parcel.columns[OUTLINE_COLUMNS]);
  const handed: typeof listeners = [];
  for (const listener of listeners) handed.push(await prefixesOf(listener, 'trustedProxies'));
  return compileGateway(readOutline(parcel), { gateway: { ...gateway, listeners: handed } }).settings;
}

function readOutline({ head, columns }: Parcel): Outline {
  const { file, folder, names } = head as PlacedHead;
  const [lines, ends, steps] = columns;
  if (!(lines instanceof Uint32Array && ends instanceof Uint32Array && steps instanceof Uint32Array))
    throw new TypeError('policy parcel without an outline');
  return new Outline(file, { lines, ends, steps, names }, folder);
}

function read<T>(column: Parcel['columns'][number] | undefined): T {
  if (!(column instanceof Uint8Array)) throw new TypeError('policy parcel without contents');
  return deserialize(column) as T;
}
