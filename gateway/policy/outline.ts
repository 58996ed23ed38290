/** The lines of the values in a policy file, as a few tables that another process can receive in place of the file. */

import type { PolicyFault } from '../core/fault.ts';
import { formatPath, type Path, type Places, pathWithin } from './places.ts';
import type { ValueTracer, YamlFile } from './yaml-file.ts';

/**
 * One row per value, in file order, before those within it. `a: [x]` has three rows, the file, `a` and `x`: lines
 * [1, 1, 1], ends [3, 3, 3], steps [0, NAMED + 0, 0], names ['a'].
 */
export interface OutlineTables {
  readonly lines: Uint32Array;
  /** The first row after everything within the value. */
  readonly ends: Uint32Array;
  /** The index in its list, or `NAMED` plus the index of its key in `names`. */
  readonly steps: Uint32Array;
  readonly names: readonly string[];
}

const NAMED = 2 ** 31;
/** The row of the whole file. */
const WHOLE = 0;

export class Outline implements Places {
  readonly file: string;
  readonly tables: OutlineTables;
  readonly #folder: string | undefined;
  readonly #numbers: ReadonlyMap<string, number>;
  /** Cache: for each row looked up, its direct children by step. */
  readonly #within = new Map<number, ReadonlyMap<number, number>>();

  /** `folder`: see `YamlFile`. */
  constructor(file: string, tables: OutlineTables, folder?: string) {
    this.file = file;
    this.tables = tables;
    this.#folder = folder;
    this.#numbers = new Map(tables.names.map((name, number) => [name, number]));
  }

  pathOf(written: string): string | undefined {
    return pathWithin(this.file, this.#folder, written);
  }

  keys(path: Path): readonly string[] {
    const { row, depth } = this.#find(path);
    const steps = depth < path.length ? [] : [...this.#rowsIn(row).keys()];
    return steps.flatMap((step) => this.tables.names[step - NAMED] ?? []);
  }

  at(path: Path, problem: string, expected?: string): PolicyFault {
    const line = this.tables.lines[this.#find(path).row] ?? 1;
    const place = { file: this.file, line, column: 1, path: formatPath(path) };
    return { ...place, problem, ...(expected !== undefined && { expected }) };
  }

  /** Returns the row of the value, or of its nearest parent, and the number of steps found. */
  #find(path: Path): { readonly row: number; readonly depth: number } {
    let row = WHOLE;
    let depth = 0;
    for (const step of path) {
      const next = this.#rowsIn(row).get(
        typeof step === 'number' ? step : NAMED + (this.#numbers.get(step) ?? Number.NaN),
      );
      if (next === undefined) break;
      row = next;
      depth += 1;
    }
    return { row, depth };
  }

  #rowsIn(row: number): ReadonlyMap<number, number> {
    const known = this.#within.get(row);
    if (known !== undefined) return known;
    const { ends, steps } = this.tables;
    const rows = new Map<number, number>();
    const end = ends[row] ?? 0;
    for (let each = row + 1; each < end; each = ends[each] ?? end) rows.set(steps[each] ?? 0, each);
    this.#within.set(row, rows);
    return rows;
  }
}

/** Returns the places of a file, without columns. */
export function outlineOf(yaml: YamlFile): Outline {
  const builder = new OutlineBuilder();
  yaml.trace(builder);
  return new Outline(yaml.file, builder.tables, yaml.folder);
}

class OutlineBuilder implements ValueTracer {
  readonly #lines: number[] = [];
  readonly #ends: number[] = [];
  readonly #steps: number[] = [];
  readonly #names = new Map<string, number>();

  begin(step: string | number | undefined, line: number): number {
    this.#steps.push(typeof step === 'string' ? NAMED + this.#nameOf(step) : (step ?? 0));
    this.#ends.push(0);
    return this.#lines.push(line) - 1;
  }

  end(row: number): void {
    this.#ends[row] = this.#lines.length;
  }

  get tables(): OutlineTables {
    return {
      lines: Uint32Array.from(this.#lines),
      ends: Uint32Array.from(this.#ends),
      steps: Uint32Array.from(this.#steps),
      names: [...this.#names.keys()],
    };
  }

  #nameOf(step: string): number {
    const number = this.#names.get(step) ?? this.#names.size;
    this.#names.set(step, number);
    return number;
  }
}
