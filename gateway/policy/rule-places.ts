/** The lines on which the rules of a policy are written, so that every decision can point at the line that made it. */

import type { Path, Places } from './places.ts';

/** The rules below one mapping of a file. */
export class RulePlaces {
  /** Display name: a path, or `etcd /key`. */
  readonly file: string;
  readonly #line: number;
  readonly #lines: ReadonlyMap<string, number>;

  /** `lines` is keyed by path, such as `require.claims.team`; `line` is that of the mapping. */
  constructor(file: string, line: number, lines: ReadonlyMap<string, number>) {
    this.file = file;
    this.#line = line;
    this.#lines = lines;
  }

  /** The rules that have a line of their own. */
  get rules(): readonly string[] {
    return [...this.#lines.keys()];
  }

  /** Returns `file:line` of the rule, or of the nearest written rule around it, or of the whole mapping. */
  of(rule: string): string {
    for (let path = rule; path !== ''; path = path.slice(0, Math.max(0, path.lastIndexOf('.')))) {
      const line = this.#lines.get(path);
      if (line !== undefined) return `${this.file}:${line}`;
    }
    return `${this.file}:${this.#line}`;
  }
}

/** Collects the rules written below these keys of the mapping at `path`. */
export function rulePlaces(places: Places, path: Path, keys: readonly string[]): RulePlaces {
  const lines = new Map<string, number>();
  const written = new Set(places.keys(path));
  for (const key of keys) if (written.has(key)) collect(places, path, key, lines);
  return new RulePlaces(places.file, places.at(path, '').line, lines);
}

function collect(places: Places, around: Path, key: string, lines: Map<string, number>, prefix = ''): void {
  const path = [...around, key];
  const name = prefix === '' ? key : `${prefix}.${key}`;
  lines.set(name, places.at(path, '').line);
  for (const child of places.keys(path)) collect(places, path, child, lines, name);
}
