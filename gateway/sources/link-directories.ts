/** The symbolic links on the way to a file: the directories that hold them, and the one they lead to. */

import { readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';

/** Linux follows no more than this. */
const MAX_LINKS = 40;

/** The directories of a path that passes through links. */
export interface LinkDirectories {
  /** The directories that hold the links. */
  readonly links: readonly string[];
  /** The directory of the file itself, which need not exist. */
  readonly target: string;
}

/** Returns undefined for a path without links. */
export async function linkDirectories(path: string): Promise<LinkDirectories | undefined> {
  const whole = resolve(path);
  if ((await realpath(path).catch(() => undefined)) === whole) return undefined;
  const { root } = parse(whole);
  const links: string[] = [];
  let reached = root;
  let rest = whole.slice(root.length).split(sep);
  while (rest.length > 0 && links.length < MAX_LINKS) {
    const [name = '', ...further] = rest;
    rest = further;
    const next = join(reached, name);
    const link = name === '..' ? undefined : await readlink(next).catch(() => undefined);
    if (link === undefined) {
      reached = next;
      continue;
    }
    links.push(reached);
    if (isAbsolute(link)) reached = root;
    rest = [...link.split(sep), ...further];
  }
  return links.length === 0 ? undefined : { links, target: dirname(reached) };
}
