/** Packs lists into parcels: their tables are sent as they are, so that nothing is built on arrival. */

import { NameTable } from '../core/name-table.ts';
import type { LevelTables } from '../core/prefix-level.ts';
import { type TreeTables, treeOf } from '../core/prefix-tree.ts';
import { type Keys, keysReader, readKeys } from '../keys/key-set.ts';
import { contentsOf, prefixReader, type ReadContents } from '../lists/contents.ts';
import { EntryPlaces } from '../lists/entry-places.ts';
import type { ListReader, LiveContents } from '../lists/live-list.ts';
import { type ReadRevoked, revokedCertificates, revokedOf, revokedTokens } from '../lists/revoked.ts';
import type { Column, Parcel } from './parcel.ts';

/** How to pack lists of one kind. */
export interface ListForm {
  /** The reader of such lists, which identifies the form. */
  readonly reader: unknown;
  pack(contents: LiveContents): Parcel;
  /** Throws if the parcel has another form. */
  unpack(parcel: Parcel): LiveContents;
}

function form<Contents extends LiveContents>(
  reader: ListReader<Contents>,
  pack: (contents: Contents) => Parcel,
  unpack: (parcel: Parcel) => Contents,
): ListForm {
  return { reader, pack: (contents) => pack(contents as Contents), unpack };
}

const forms: ReadonlyMap<string, ListForm> = new Map([
  ['prefixes', form(prefixReader, packPrefixes, unpackPrefixes)],
  ['certificates', form(revokedCertificates, packRevoked, unpackRevoked)],
  ['tokens', form(revokedTokens, packRevoked, unpackRevoked)],
  ['keys', form(keysReader, packKeys, unpackKeys)],
]);

/** Returns the name of the form for a reader's lists. Throws if it has none, which is a bug. */
export function formNameOf(reader: unknown): string {
  for (const [name, each] of forms) if (each.reader === reader) return name;
  throw new Error('no form for this list reader');
}

/** Returns the form of that name. Throws if there is none. */
export function formOf(name: string): ListForm {
  const found = forms.get(name);
  if (found === undefined) throw new TypeError(`unknown list form ${name}`);
  return found;
}

/** Takes tables off a parcel in the order they were added. */
class Tables {
  readonly #columns: readonly Column[];
  #next = 0;

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
  }

  take<C extends Column>(type: new (length: number) => C): C {
    const column = this.#columns[this.#next++];
    if (column instanceof type) return column;
    throw new TypeError('missing table or unexpected type of table');
  }

  units(): Uint8Array | Uint16Array {
    const column = this.#columns[this.#next++];
    if (column instanceof Uint8Array || column instanceof Uint16Array) return column;
    throw new TypeError('missing table or unexpected type of table');
  }
}

interface PlacesHead {
  readonly place: string;
  readonly isKeyed: boolean;
}

function packPlaces({ place, keys }: EntryPlaces, columns: Column[]): PlacesHead {
  if (keys !== undefined) columns.push(keys.bytes, keys.starts);
  return { place, isKeyed: keys !== undefined };
}

function unpackPlaces({ place, isKeyed }: PlacesHead, tables: Tables): EntryPlaces {
  if (!isKeyed) return new EntryPlaces(place);
  return new EntryPlaces(place, { bytes: tables.take(Uint8Array), starts: tables.take(Uint32Array) });
}

type LevelHead = Omit<LevelTables, 'entries' | 'root'>;

interface PrefixesHead extends PlacesHead, Record<Family, readonly LevelHead[]> {
  readonly nextEndMs: number;
  readonly repeats: TreeTables['repeats'];
}
const FAMILIES = ['four', 'six', 'sixLong'] as const;
type Family = (typeof FAMILIES)[number];

function packPrefixes({ tree, places, nextEndMs = Number.POSITIVE_INFINITY }: ReadContents): Parcel {
  const { tables } = tree;
  const columns: Column[] = [];
  for (const family of FAMILIES) for (const { entries, root } of tables[family]) columns.push(entries, root);
  const headsOf = (levels: readonly LevelTables[]): LevelHead[] =>
    levels.map(({ width, skip, rootBits }) => ({ width, skip, rootBits }));
  const { four, six, sixLong, repeats } = tables;
  const levels = { four: headsOf(four), six: headsOf(six), sixLong: headsOf(sixLong) };
  const head: PrefixesHead = { ...levels, repeats, nextEndMs, ...packPlaces(places, columns) };
  return { head, columns };
}

function unpackPrefixes({ head, columns }: Parcel): ReadContents {
  const { nextEndMs, repeats, ...more } = head as PrefixesHead;
  const tables = new Tables(columns);
  const levelsOf = (heads: readonly LevelHead[]): LevelTables[] =>
    heads.map((each) => ({
      ...each,
      entries: tables.take(Uint32Array),
      root: tables.take(Uint32Array),
    }));
  const four = levelsOf(more.four);
  const six = levelsOf(more.six);
  const sixLong = levelsOf(more.sixLong);
  return contentsOf(treeOf({ four, six, sixLong, repeats }), unpackPlaces(more, tables), nextEndMs);
}

/** A table of names without its columns. */
export interface NamesHead {
  readonly size: number;
  readonly seed: number;
}

export function packNames({ tables }: NameTable, columns: Column[]): NamesHead {
  const { size, seed, units, starts, numbers, slots } = tables;
  columns.push(units, starts, numbers, slots);
  return { size, seed };
}

/** Builds a table of names over its `NAMES_COLUMNS` columns. Throws if they have other types. */
export function unpackNames({ size, seed }: NamesHead, columns: readonly Column[]): NameTable {
  return takeNames({ size, seed }, new Tables(columns));
}

/** Number of columns of a table of names. */
export const NAMES_COLUMNS = 4;

function takeNames({ size, seed }: NamesHead, tables: Tables): NameTable {
  const units = tables.units();
  const starts = tables.take(Uint32Array);
  const numbers = tables.take(Uint32Array);
  return new NameTable({ size, seed, units, starts, numbers, slots: tables.take(Uint32Array) });
}

interface RevokedHead extends PlacesHead, NamesHead {
  readonly nextEndMs: number;
}

function packRevoked({ names, places, nextEndMs = Number.POSITIVE_INFINITY }: ReadRevoked): Parcel {
  const columns: Column[] = [];
  const head: RevokedHead = { nextEndMs, ...packNames(names, columns), ...packPlaces(places, columns) };
  return { head, columns };
}

function unpackRevoked({ head, columns }: Parcel): ReadRevoked {
  const { nextEndMs, ...more } = head as RevokedHead;
  const tables = new Tables(columns);
  const names = takeNames(more, tables);
  return revokedOf(names, unpackPlaces(more, tables), nextEndMs);
}

function packKeys({ text }: Keys): Parcel {
  return { head: text, columns: [] };
}

function unpackKeys({ head }: Parcel): Keys {
  const keys = readKeys(String(head));
  if (typeof keys === 'string') throw new TypeError(keys);
  return keys;
}
