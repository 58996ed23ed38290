/** Reports file changes: watches directories, and polls slowly for file systems that do not report changes. */

import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { linkDirectories } from './link-directories.ts';

export interface FileWatchOptions {
  /** Interval at which every group is checked even without an event. */
  readonly pollMs?: number;
  /** Time between the first event of a group and the check; further events in between cause no other check. */
  readonly settleMs?: number;
}

const POLL_MS = 10_000;
const SETTLE_MS = 50;

/** Groups of files share the watches of their directories. */
export class FileWatch {
  readonly #settleMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #groups = new Set<FileGroup>();
  readonly #directories = new Map<string, FSWatcher>();

  constructor({ pollMs = POLL_MS, settleMs = SETTLE_MS }: FileWatchOptions = {}) {
    this.#settleMs = settleMs;
    this.#timer = setInterval(() => this.#poll(), pollMs).unref();
  }

  /**
   * Calls `onChange` whenever one of the files changes: is written, replaced, removed or created, or reached by a
   * symbolic link that points elsewhere. Files read after this resolves are not older than the state that later changes
   * are compared with. Returns a function that ends the watch.
   */
  async watch(paths: readonly string[], onChange: () => void): Promise<() => void> {
    const onMoved = (hasLeft: boolean): void => {
      this.#listen(group);
      // Goes through all groups, so not for a group that has found its links for the first time.
      if (hasLeft) this.#forget();
    };
    const group = new FileGroup(paths, this.#settleMs, { onChange, onMoved });
    this.#groups.add(group);
    this.#listen(group);
    await group.follow();
    await group.look();
    return () => {
      group.end();
      this.#groups.delete(group);
      this.#forget();
    };
  }

  /** Checks every file now; resolves when all changes found have been reported. */
  async lookNow(): Promise<void> {
    await Promise.all([...this.#groups].map((group) => group.look()));
  }

  close(): void {
    clearInterval(this.#timer);
    for (const group of this.#groups) group.end();
    this.#groups.clear();
    this.#forget();
  }

  /** Watches the parent directories as well: a whole folder may be replaced. The same for what links lead to. */
  #listen(group: FileGroup): void {
    for (const directory of group.directories) {
      if (this.#directories.has(directory)) continue;
      try {
        const watcher = watch(directory, { persistent: false }, () => this.#heard(directory));
        watcher.on('error', () => this.#drop(directory));
        this.#directories.set(directory, watcher);
      } catch {
        // The directory does not exist yet, or the system has no watches left: polling remains.
      }
    }
  }

  #heard(directory: string): void {
    for (const group of this.#groups) {
      if (group.directories.has(directory)) group.lookSoon();
      // The watch of a folder that was replaced is still on the old one.
      if (group.parents.has(directory)) this.#renew(group, directory);
    }
  }

  /** Watches what is below `parent` anew. */
  #renew(group: FileGroup, parent: string): void {
    for (const directory of group.directories) if (dirname(directory) === parent) this.#drop(directory);
    this.#listen(group);
  }

  #poll(): void {
    for (const group of this.#groups) {
      this.#listen(group);
      group.lookSoon();
    }
  }

  #drop(directory: string): void {
    this.#directories.get(directory)?.close();
    this.#directories.delete(directory);
  }

  #forget(): void {
    const used = new Set([...this.#groups].flatMap((group) => [...group.directories]));
    for (const directory of this.#directories.keys()) if (!used.has(directory)) this.#drop(directory);
  }
}

interface GroupListener {
  onChange(): void;
  /** Called when its set of directories has changed; `hasLeft` if some are no longer in it. */
  onMoved(hasLeft: boolean): void;
}

/** Files that change together. */
class FileGroup {
  /** Those above the directories of the files. */
  parents: ReadonlySet<string>;
  /** The directories of the files and of what they are links to, and their parents. */
  directories: ReadonlySet<string>;
  readonly #paths: readonly string[];
  readonly #settleMs: number;
  readonly #listener: GroupListener;
  #timer: NodeJS.Timeout | undefined;
  #seen: string | undefined;
  #following: Promise<void> = Promise.resolve();
  #ended = false;

  constructor(paths: readonly string[], settleMs: number, listener: GroupListener) {
    this.#paths = paths;
    this.#settleMs = settleMs;
    this.#listener = listener;
    const own = paths.map((path) => dirname(path));
    this.parents = new Set(own.map((directory) => dirname(directory)));
    this.directories = new Set([...own, ...this.parents]);
  }

  /** Finds the directories again, since links may have changed. Calls run one after the other, so that the newest result wins. */
  follow(): Promise<void> {
    this.#following = this.#following.then(() => this.#findDirectories());
    return this.#following;
  }

  async #findDirectories(): Promise<void> {
    const found = await Promise.all(this.#paths.map(linkDirectories));
    if (this.#ended) return;
    const linked = found.filter((each) => each !== undefined);
    const own = [...this.#paths.map((path) => dirname(path)), ...linked.map(({ target }) => target)];
    this.parents = new Set(own.map((directory) => dirname(directory)));
    const directories = new Set([...own, ...this.parents, ...linked.flatMap(({ links }) => links)]);
    const before = this.directories;
    this.directories = directories;
    const hasLeft = [...before].some((directory) => !directories.has(directory));
    if (!hasLeft && directories.size === before.size) return;
    this.#listener.onMoved(hasLeft);
    // Earlier changes there were missed.
    if (this.#seen !== undefined) this.lookSoon();
  }

  lookSoon(): void {
    if (this.#timer !== undefined || this.#ended) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.look();
    }, this.#settleMs).unref();
  }

  async look(): Promise<void> {
    const signatures = await Promise.all(this.#paths.map(signatureOf));
    const now = signatures.join('\n');
    const changed = this.#seen !== undefined && this.#seen !== now;
    this.#seen = now;
    if (!changed || this.#ended) return;
    this.#listener.onChange();
    await this.follow();
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }
}

/** Follows links. A file written in place gets a new time, one that is replaced a new inode. */
async function signatureOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  }
}
