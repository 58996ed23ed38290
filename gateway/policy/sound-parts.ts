/** The sound parts of a faulty file, so that faults that involve several keys are found as well. */

import type { z } from 'zod';
import type { Path, Places } from './places.ts';

export interface SoundParts<T> {
  readonly contents: T;
  /** Translates paths in `contents` to paths in the file, where removed list members still count. */
  readonly places: Places;
}

/**
 * Returns the contents without the values that have issues, or undefined if the rest does not match the schema. They
 * are for finding further faults, never to be put in force.
 */
export function soundParts<S extends z.ZodType>(
  schema: S,
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
  places: Places,
): SoundParts<z.output<S>> | undefined {
  const parts: unknown = structuredClone(value);
  const faulty = issues.flatMap(faultyPaths);
  // Removing later members first keeps the indices of earlier ones valid.
  for (const path of faulty.toReversed()) remove(parts, path);
  const result = schema.safeParse(parts);
  return result.success ? { contents: result.data, places: placesBeside(places, faulty) } : undefined;
}

function placesBeside(places: Places, removed: readonly Path[]): Places {
  return {
    file: places.file,
    pathOf: (written) => places.pathOf(written),
    keys: (path) => places.keys(writtenPath(path, removed)),
    at: (path, problem, expected) => places.at(writtenPath(path, removed), problem, expected),
  };
}

/** Returns the path in the file: `allow[0]` is `allow[1]` there if the first member was removed. */
function writtenPath(path: Path, removed: readonly Path[]): Path {
  const written: (string | number)[] = [];
  for (const step of path) {
    const members = removed.filter((each) => isMemberOf(each, written)).map((each) => Number(each.at(-1)));
    written.push(typeof step === 'number' ? writtenIndex(step, members) : step);
  }
  return written;
}

/** `removed` is ascending: with 0 and 2 removed, index 1 is 3 in the file. */
function writtenIndex(index: number, removed: readonly number[]): number {
  return removed.reduce((written, each) => (each <= written ? written + 1 : written), index);
}

function isMemberOf(path: Path, list: Path): boolean {
  return path.length === list.length + 1 && list.every((step, index) => step === path[index]);
}

/** Returns the paths of the values that an issue is about. */
function faultyPaths(issue: z.core.$ZodIssue): readonly Path[] {
  const path = issue.path as Path;
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => [...path, key]);
  return [path];
}

function remove(value: unknown, path: Path): void {
  const last = path.at(-1);
  const holder = path.slice(0, -1).reduce<unknown>((each, step) => memberOf(each, step), value);
  if (last === undefined || typeof holder !== 'object' || holder === null) return;
  if (Array.isArray(holder)) holder.splice(Number(last), 1);
  else Reflect.deleteProperty(holder, last);
}

function memberOf(value: unknown, step: string | number): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, step) : undefined;
}
