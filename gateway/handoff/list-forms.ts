/** Lists as parcels: their tables as they are, so that nothing is built where they arrive. */

import { NameTable } from '../core/name-table.ts';
import type { LevelTables } from '../core/prefix-level.ts';
import { type TreeTables, treeOf } from '../core/prefix-tree.ts';
import { type Keys, keysReader, readKeys } from '../keys/key-set.ts';
import { contentsOf, prefixReader, type ReadContents } from '../lists/contents.ts';
import { EntryPlaces } from '../lists/entry-places.ts';
import type { ListReader, LiveContents } from '../lists/live-list.ts';
import { type ReadRevoked, revokedCertificates, revokedOf, revokedTokens } from '../lists/revoked.ts';
import type { Column, Parcel } from './parcel.ts';

/** Lists of one kind. */
export interface ListForm {
  /** What reads them where they are read. */
  readonly reader: unknown;
  pack(contents: LiveContents): Parcel;
  /** Throws when the parcel is of another form. */
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

/** The name of the form that a reader's lists have; throws for a reader that has none, which is a bug. */
export function formNameOf(reader: unknown): string {
  for (const [name, each] of forms) if (each.reader === reader) return name;
  throw new Error('a kind of list that cannot be handed over');
}

/** The form of that name; throws when there is none. */
export function formOf(name: string): ListForm {
  const found = forms.get(name);
  if (found === undefined) throw new TypeError(`a list of no known form: ${name}`);
  return found;
}

/** Tables come off a parcel in the order they were put on. */
class Tables {
  readonly #columns: readonly Column[];
  #next = 0;

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
  }

  take<C extends Column>(type: new (length: number) => C): C {
    const column = this.#columns[this.#next++];
    if (column instanceof type) return column;
    throw new TypeError('a table of another kind');
  }

  units(): Uint8Array | Uint16Array {
    const column = this.#columns[this.#next++];
    if (column instanceof Uint8Array || column instanceof Uint16Array) return column;
    throw new TypeError('a table of another kind');
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

/** What a table of names is beside its columns. */
export interface NamesHead {
  readonly size: number;
  readonly seed: number;
}

export function packNames({ tables }: NameTable, columns: Column[]): NamesHead {
  const { size, seed, units, starts, numbers, slots } = tables;
  columns.push(units, starts, numbers, slots);
  return { size, seed };
}

/** The table over columns of its own, `NAMES_COLUMNS` of them. */
export function unpackNames({ size, seed }: NamesHead, columns: readonly Column[]): NameTable {
  return takeNames({ size, seed }, new Tables(columns));
}

/** How many columns a table of names has. */
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
