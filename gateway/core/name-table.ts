/** A set of names in a few integer tables, which other processes can share; a look-up costs as much as in a `Map`. */

import { SLICE, type SlicedWork } from './prefix-columns.ts';

/** A table as plain data. */
export interface NameTables {
  readonly size: number;
  /** The initial value of the hash. */
  readonly seed: number;
  /** All names in a row, as UTF-16 code units; in bytes if all of them fit. */
  readonly units: Uint8Array | Uint16Array;
  /** The offset of each name in `units`, followed by the end of the last. */
  readonly starts: Uint32Array;
  /** The number each name was added under. */
  readonly numbers: Uint32Array;
  /** Pairs of a hash and a name, counted from 1; 0 is a free slot. There are at least twice as many pairs as names. */
  readonly slots: Uint32Array;
}

/** Returned for a name that is not in the table. */
export const ABSENT = -1;

export class NameTable {
  /** A `NameTable` over the same tables, in any process, gives the same results. */
  readonly tables: NameTables;

  constructor(tables: NameTables) {
    this.tables = tables;
  }

  get size(): number {
    return this.tables.size;
  }

  has(name: string): boolean {
    return this.find(name) !== ABSENT;
  }

  /** The number the name was added under last, or `ABSENT`. */
  find(name: string): number {
    const { slots, numbers } = this.tables;
    const at = slotOf(this.tables, name, hashOf(name, this.tables.seed));
    const found = slots[at + 1] ?? 0;
    return found === 0 ? ABSENT : (numbers[found - 1] ?? ABSENT);
  }
}

/** Collects names and builds a table of them, in steps of a fraction of a millisecond. */
export class NameTableBuilder {
  readonly #seed: number;
  readonly #names: string[] = [];
  readonly #numbers: number[] = [];

  /** `seed`: 32 secret random bits, so that nobody can choose names that collide. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** The last of several entries with the same name counts. */
  add(name: string, number: number): void {
    this.#names.push(name);
    this.#numbers.push(number);
  }

  *build(): SlicedWork<NameTable> {
    const names = this.#names;
    const starts = new Uint32Array(names.length + 1);
    let isNarrow = true;
    for (const [index, name] of names.entries()) {
      starts[index + 1] = (starts[index] ?? 0) + name.length;
      isNarrow &&= !WIDE.test(name);
      if (index % SLICE === SLICE - 1) yield;
    }
    const count = starts[names.length] ?? 0;
    const units = isNarrow ? new Uint8Array(count) : new Uint16Array(count);
    const slots = new Uint32Array(2 * 2 ** Math.ceil(Math.log2(names.length * 2 + 1)));
    const tables = { seed: this.#seed, units, starts, numbers: Uint32Array.from(this.#numbers), slots };
    let size = 0;
    for (const [index, name] of names.entries()) {
      const start = starts[index] ?? 0;
      for (let unit = 0; unit < name.length; unit++) units[start + unit] = name.charCodeAt(unit);
      const hash = hashOf(name, this.#seed);
      const at = slotOf(tables, name, hash);
      if (slots[at + 1] === 0) size += 1;
      slots[at] = hash;
      slots[at + 1] = index + 1;
      if (index % SLICE === SLICE - 1) yield;
    }
    return new NameTable({ size, ...tables });
  }
}

const WIDE = /[^\u0000-\u00ff]/;

/** FNV-1a over code units, then the finalizer of MurmurHash3, which spreads its bits over the whole word. */
function hashOf(name: string, seed: number): number {
  let hash = seed;
  for (let unit = 0; unit < name.length; unit++) hash = Math.imul(hash ^ name.charCodeAt(unit), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The offset of the slot of a name, or of the free slot it would get. */
function slotOf(tables: Omit<NameTables, 'size'>, name: string, hash: number): number {
  const { slots } = tables;
  const last = slots.length - 2;
  for (let at = (hash * 2) & last; ; at = (at + 2) & last) {
    const index = slots[at + 1] ?? 0;
    if (index === 0 || (slots[at] === hash && isName(tables, index - 1, name))) return at;
  }
}

function isName({ units, starts }: Omit<NameTables, 'size'>, index: number, name: string): boolean {
  const start = starts[index] ?? 0;
  if ((starts[index + 1] ?? 0) - start !== name.length) return false;
  for (let unit = 0; unit < name.length; unit++)
    if (units[start + unit] !== name.charCodeAt(unit)) return false;
  return true;
}
