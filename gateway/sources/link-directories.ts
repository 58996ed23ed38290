/** Where symbolic links on the way to a file lead, and in which directories that is said. */

import { readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';

/** As many as Linux follows. */
const MOST_LINKS = 40;

/** Of a path with links on its way. */
export interface LinkDirectories {
  /** Those that hold the links. */
  readonly links: readonly string[];
  /** That of the file itself, which need not be there. */
  readonly target: string;
}

/** Nothing for a path without links. */
export async function linkDirectories(path: string): Promise<LinkDirectories | undefined> {
  const whole = resolve(path);
  if ((await realpath(path).catch(() => undefined)) === whole) return undefined;
  const { root } = parse(whole);
  const links: string[] = [];
  let reached = root;
  let rest = whole.slice(root.length).split(sep);
  while (rest.length > 0 && links.length < MOST_LINKS) {
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
