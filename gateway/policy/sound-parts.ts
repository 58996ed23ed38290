/** What a faulty file says besides its faults, so that the faults only a whole file can show are found as well. */

import type { z } from 'zod';
import type { Path, Places } from './yaml-file.ts';

export interface SoundParts<T> {
  readonly contents: T;
  /** Places as the file has them: members of lists that were left out count. */
  readonly places: Places;
}

/**
 * The contents without the values the issues are about; undefined when they do not fit the schema without them. They
 * serve to look for further faults, never to run by.
 */
export function soundParts<S extends z.ZodType>(
  schema: S,
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
  places: Places,
): SoundParts<z.output<S>> | undefined {
  const parts: unknown = structuredClone(value);
  const faulty = issues.flatMap(faultyPaths);
  // Later members first: the places of earlier ones stay what they were.
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

/** `allow[0]` is `allow[1]` in the file when its first member was removed. */
function writtenPath(path: Path, removed: readonly Path[]): Path {
  const written: (string | number)[] = [];
  for (const step of path) {
    const members = removed.filter((each) => isMemberOf(each, written)).map((each) => Number(each.at(-1)));
    written.push(typeof step === 'number' ? writtenIndex(step, members) : step);
  }
  return written;
}

/** `removed` rises. */
function writtenIndex(index: number, removed: readonly number[]): number {
  return removed.reduce((written, each) => (each <= written ? written + 1 : written), index);
}

function isMemberOf(path: Path, list: Path): boolean {
  return path.length === list.length + 1 && list.every((step, index) => step === path[index]);
}

/** Where the values stand that an issue is about. */
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
