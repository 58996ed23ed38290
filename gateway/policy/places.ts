/** Where the values of a policy text stand, and what its paths mean. */

import { dirname, resolve, sep } from 'node:path';
import type { PolicyFault } from '../core/fault.ts';

export type Path = readonly (string | number)[];

/** What is wrong with a path that `Places.pathOf` does not go. */
export const LEAVES_FOLDER = 'leaves the folder of the tenants';
export const EXPECTED_FOLDER = 'a path below it: this text is in etcd';

/** Where the values of a file stand. */
export interface Places {
  /** For people: a path, or `etcd /key`. */
  readonly file: string;
  /** The path on disk that is meant by one in the file; undefined where it must not be gone to from there. */
  pathOf(written: string): string | undefined;
  /** The keys of a mapping as written; none where there is no mapping. */
  keys(path: Path): readonly string[];
  /** A fault at the value of the path, or at the nearest one around it where there is none. */
  at(path: Path, problem: string, expected?: string): PolicyFault;
}

/** The path written in `file`, which must not leave the folder, if one is given in place of the file's own. */
export function pathWithin(file: string, folder: string | undefined, written: string): string | undefined {
  if (folder === undefined) return resolve(dirname(file), written);
  const path = resolve(folder, written);
  return path.startsWith(`${resolve(folder)}${sep}`) ? path : undefined;
}

/** `routes[1].match.methods`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? step : `${text}.${step}`;
  }, '');
}
