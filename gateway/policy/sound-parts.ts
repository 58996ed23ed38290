/** What a faulty file says besides its faults, so that the faults only a whole file can show are found as well. */

import type { z } from 'zod';
import type { Path } from './yaml-file.ts';

/**
 * The contents without the values the issues are about; undefined when they do not fit the schema without them. They
 * serve to look for further faults, never to run by.
 */
export function soundParts<S extends z.ZodType>(
  schema: S,
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
): z.output<S> | undefined {
  const parts: unknown = structuredClone(value);
  // Later members first: the places of earlier ones stay what they were.
  for (const path of issues.flatMap(faultyPaths).toReversed()) remove(parts, path);
  const result = schema.safeParse(parts);
  return result.success ? result.data : undefined;
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
