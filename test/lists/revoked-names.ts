/** Lists of revoked names, made from names and taken apart again. */

import { type NameTable, NameTableBuilder } from '../../gateway/core/name-table.ts';
import { finish } from '../../gateway/core/prefix-tree.ts';
import { EntryPlaces } from '../../gateway/lists/entry-places.ts';
import { type ReadRevoked, type RevokedContents, revokedOf } from '../../gateway/lists/revoked.ts';

/** Names numbered from `first` on, as lines of `file`. */
export function revokedNames(names: readonly string[], file: string, first: number): ReadRevoked {
  const builder = new NameTableBuilder(7);
  for (const [index, name] of names.entries()) builder.add(name, first + index);
  return revokedOf(finish(builder.build()), new EntryPlaces(file), Number.POSITIVE_INFINITY);
}

/** Every name ever added. */
export function namesOf({ tables: { units, starts, numbers } }: NameTable): readonly string[] {
  return [...numbers.keys()].map((index) =>
    String.fromCharCode(...units.subarray(starts[index], starts[index + 1])),
  );
}

/** Each name with its place. */
export function entriesOf({ names, placeOf }: RevokedContents): Readonly<Record<string, string>> {
  return Object.fromEntries(namesOf(names).map((name) => [name, placeOf(names.find(name))]));
}
