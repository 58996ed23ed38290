/** The address lists of a tenant: prefixes written in the policy, in a file beside it, in etcd or in Redis. */

import { dirname, resolve } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';
import { buildPrefixTree } from '../core/prefix-tree.ts';
import { UNREADABLE } from '../lists/file-feed.ts';
import type { ListRegistry, ListSource } from '../lists/list-registry.ts';
import type { ListPart } from '../lists/live-list.ts';
import type { AddressList, AddressRules, GatewaySettings } from './policy.ts';
import type { TenantFile } from './tenant-file.ts';
import type { Path, Places } from './yaml-file.ts';

export type AddressLists = ReadonlyMap<string, AddressList>;
type ListFile = TenantFile['addresses'][string];

/** What lists are read with. */
export interface ListServers extends Pick<GatewaySettings, 'etcd' | 'redis'> {
  readonly registry: ListRegistry;
}

/**
 * Begins to follow every list. A file has to be read now, so that what is wrong with it is a fault of the policy; other
 * servers may answer later, and until they do their lists hold nothing back.
 */
export async function readAddressLists(
  places: Places,
  addresses: TenantFile['addresses'],
  servers: ListServers,
): Promise<{ readonly lists: AddressLists; readonly faults: readonly PolicyFault[] }> {
  const lists = new Map<string, AddressList>();
  const faults: PolicyFault[] = [];
  for (const [name, written] of Object.entries(addresses)) {
    const path = ['addresses', name];
    const parts: ListPart[] = [];
    if (written.cidrs !== undefined) parts.push(writtenPart(places, path, written.cidrs));
    for (const source of sourcesOf(places, path, written, servers, faults)) {
      const list = await servers.registry.list(source);
      if (source.kind === 'file') await list.settled();
      if (source.kind === 'file' && list.contents === undefined)
        faults.push(...list.faults.map((fault) => placed(places, path, written, fault)));
      parts.push(list);
    }
    if (parts.length === 0 && faults.length === 0)
      faults.push(places.at(path, 'is an empty list', 'cidrs, file, etcd or redis'));
    lists.set(name, { name, parts });
  }
  return { lists, faults };
}

/** A file that cannot be read at all is most often another than was meant, so the fault is where it is named. */
function placed(places: Places, path: Path, { file }: ListFile, fault: PolicyFault): PolicyFault {
  const isUnread = fault.problem.startsWith(UNREADABLE);
  return isUnread ? places.at([...path, 'file'], `${file} ${fault.problem}`) : fault;
}

/** Prefixes are numbered by the lines they stand on. */
function writtenPart(places: Places, path: Path, cidrs: NonNullable<ListFile['cidrs']>): ListPart {
  const lines = cidrs.map((_, index) => places.at([...path, 'cidrs', index], '').line);
  const tree = buildPrefixTree(cidrs);
  const placeOf = (number: number): string => `${places.file}:${lines[number]}`;
  return { place: places.file, contents: { tree, placeOf }, isCurrent: true };
}

function sourcesOf(
  places: Places,
  path: Path,
  { file, etcd, redis }: ListFile,
  servers: ListServers,
  faults: PolicyFault[],
): readonly ListSource[] {
  const sources: ListSource[] = [];
  if (file !== undefined) sources.push({ kind: 'file', path: resolve(dirname(places.file), file) });
  if (etcd !== undefined && servers.etcd !== undefined)
    sources.push({ kind: 'etcd', endpoints: servers.etcd.endpoints, key: etcd });
  if (redis !== undefined && servers.redis !== undefined)
    sources.push({ kind: 'redis', url: servers.redis, key: redis });
  if (etcd !== undefined && servers.etcd === undefined)
    faults.push(places.at([...path, 'etcd'], 'gateway.yaml names no etcd', 'gateway.etcd.endpoints'));
  if (redis !== undefined && servers.redis === undefined)
    faults.push(places.at([...path, 'redis'], 'gateway.yaml names no Redis', 'gateway.state.redis'));
  return sources;
}

/** Faults of names at `path` that no list has. */
export function unknownLists(places: Places, path: Path, names: readonly string[]): PolicyFault[] {
  const known = places.keys(['addresses']);
  return names.flatMap((name, index) =>
    known.includes(name)
      ? []
      : [places.at([...path, index], `there is no list ${name}`, known.join(', ') || undefined)],
  );
}

/** The rules that some lists allow and others deny; `allow` absent means every address, empty means none. */
export function addressRules(
  lists: AddressLists,
  allow: readonly string[] | undefined,
  deny: readonly string[],
): AddressRules {
  const named = (names: readonly string[]): readonly AddressList[] =>
    names.flatMap((name) => lists.get(name) ?? []);
  return {
    ...(allow !== undefined && { allow: named(allow) }),
    ...(deny.length > 0 && { deny: named(deny) }),
  };
}
