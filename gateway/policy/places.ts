/** Positions of the values in a policy text, and the meaning of file paths in it. */

import { dirname, resolve, sep } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';

export type Path = readonly (string | number)[];

/** The fault of a path for which `Places.pathOf` returns undefined. */
export const LEAVES_FOLDER = 'leaves the tenants folder';
export const EXPECTED_FOLDER = 'a path below it, because this text is in etcd';

export interface Places {
  /** Display name: a path, or `etcd /key`. */
  readonly file: string;
  /** Resolves a path written in the file; undefined if it leaves the folder it is confined to. */
  pathOf(written: string): string | undefined;
  /** Returns the keys of the mapping at `path` as written; none if it is not a mapping. */
  keys(path: Path): readonly string[];
  /** Returns a fault at the value at `path`, or at its nearest existing parent. */
  at(path: Path, problem: string, expected?: string): PolicyFault;
}

/** Resolves `written` against `folder`, if given, or else that of `file`; undefined if it leaves `folder`. */
export function pathWithin(file: string, folder: string | undefined, written: string): string | undefined {
  if (folder === undefined) return resolve(dirname(file), written);
  const path = resolve(folder, written);
  return path.startsWith(`${resolve(folder)}${sep}`) ? path : undefined;
}

/** Formats a path as `routes[1].match.methods`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? step : `${text}.${step}`;
  }, '');
}
