/** The address lists of a tenant: prefixes written in the policy or in a file beside it, each with its place. */

import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Prefix, parsePrefix } from '../core/address.ts';
import { buildPrefixTree, type PrefixTree } from '../core/prefix-tree.ts';
import { fileFault, type PolicyFault } from './fault.ts';
import type { AddressRules, PrefixOrigin } from './policy.ts';
import type { TenantFile } from './tenant-file.ts';
import type { Path, Places } from './yaml-file.ts';

export interface ListEntry {
  readonly prefix: Prefix;
  /** `file:line`. */
  readonly place: string;
}

export type AddressLists = ReadonlyMap<string, readonly ListEntry[]>;

/** Reads every list; the texts of files are reported to `onText`, so that a change of one is noticed. */
export async function readAddressLists(
  places: Places,
  addresses: TenantFile['addresses'],
  onText: (text: string) => void,
): Promise<{ readonly lists: AddressLists; readonly faults: readonly PolicyFault[] }> {
  const lists = new Map<string, readonly ListEntry[]>();
  const faults: PolicyFault[] = [];
  for (const [name, list] of Object.entries(addresses)) {
    const path = ['addresses', name];
    const entries: ListEntry[] = (list.cidrs ?? []).map((prefix, index) => {
      const { file, line } = places.at([...path, 'cidrs', index], '');
      return { prefix, place: `${file}:${line}` };
    });
    if (list.cidrs === undefined && list.file === undefined) {
      faults.push(places.at(path, 'is an empty list', 'cidrs or file'));
    }
    if (list.file !== undefined) {
      const file = resolve(dirname(places.file), list.file);
      const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => error);
      if (text instanceof Error) {
        faults.push(
          places.at([...path, 'file'], `${list.file} cannot be read: ${text.code ?? text.message}`),
        );
      } else {
        onText(text);
        entries.push(...parseList(file, text, faults));
      }
    }
    lists.set(name, entries);
  }
  return { lists, faults };
}

/** One prefix a line; empty lines and what stands behind `#` do not count. */
function parseList(file: string, text: string, faults: PolicyFault[]): ListEntry[] {
  return text.split(/\r?\n/).flatMap((written, index) => {
    const entry = written.replace(/#.*/, '').trim();
    if (entry === '') return [];
    const prefix = parsePrefix(entry);
    if (typeof prefix !== 'string') return [{ prefix, place: `${file}:${index + 1}` }];
    const column = written.indexOf(entry) + 1;
    faults.push({ ...fileFault(file, prefix), line: index + 1, column });
    return [];
  });
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
  return {
    ...(allow !== undefined && { allow: treeOf(lists, allow, 'allow') }),
    ...(deny.length > 0 && { deny: treeOf(lists, deny, 'deny') }),
  };
}

function treeOf(
  lists: AddressLists,
  names: readonly string[],
  verdict: PrefixOrigin['verdict'],
): PrefixTree<PrefixOrigin> {
  const entries = names.flatMap((list) =>
    (lists.get(list) ?? []).map(({ prefix, place }) => ({
      prefix,
      value: { list, verdict, place, prefix: prefix.text },
    })),
  );
  return buildPrefixTree(entries);
}
