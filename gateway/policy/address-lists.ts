/** The address lists of a tenant: prefixes written in the policy, in a file beside it, in etcd or in Redis. */

import type { PolicyFault } from '../core/fault.ts';
import { buildPrefixTree } from '../core/prefix-tree.ts';
import { type ListContents, prefixReader } from '../lists/contents.ts';
import type { ListPart } from '../lists/live-list.ts';
import { followLists, type ListServers } from './list-sources.ts';
import type { Path, Places } from './places.ts';
import type { AddressList, AddressRules } from './policy.ts';
import type { TenantFile } from './tenant-file.ts';

export type AddressLists = ReadonlyMap<string, AddressList>;
type ListFile = TenantFile['addresses'][string];

/** Compiles and starts following every list. */
export async function readAddressLists(
  places: Places,
  addresses: TenantFile['addresses'],
  servers: ListServers,
): Promise<{ readonly lists: AddressLists; readonly faults: readonly PolicyFault[] }> {
  const lists = new Map<string, AddressList>();
  const faults: PolicyFault[] = [];
  for (const [name, written] of Object.entries(addresses)) {
    const path = ['addresses', name];
    const followed = await followLists(places, path, written, servers, prefixReader);
    const parts: ListPart<ListContents>[] = [...followed.lists];
    if (written.cidrs !== undefined) parts.unshift(writtenPart(places, path, written.cidrs));
    if (parts.length === 0 && followed.faults.length === 0)
      faults.push(places.at(path, 'is an empty list', 'cidrs, file, etcd or redis'));
    faults.push(...followed.faults);
    lists.set(name, { name, parts });
  }
  return { lists, faults };
}

/** Numbers prefixes by the lines they are written on. */
function writtenPart(
  places: Places,
  path: Path,
  cidrs: NonNullable<ListFile['cidrs']>,
): ListPart<ListContents> {
  const lines = cidrs.map((_, index) => places.at([...path, 'cidrs', index], '').line);
  const tree = buildPrefixTree(cidrs);
  // The closure must not keep `places`, which hold the whole file.
  const { file } = places;
  return {
    place: file,
    contents: { tree, placeOf: (number) => `${file}:${lines[number]}` },
    isCurrent: true,
  };
}

/** Returns a fault for each unknown list name at `path`. */
export function unknownLists(places: Places, path: Path, names: readonly string[]): PolicyFault[] {
  const known = places.keys(['addresses']);
  return names.flatMap((name, index) =>
    known.includes(name)
      ? []
      : [places.at([...path, index], `unknown list ${name}`, known.join(', ') || undefined)],
  );
}

/** Builds rules from list names. If `allow` is absent, every address is allowed; if empty, none. */
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
