/**
 * The file of an audit log: appends and syncs lines, and rotates full files, with the chain continuing in the next.
 * Bytes that were not synced do not count and are truncated before the next write.
 */

import { constants } from 'node:fs';
import { type FileHandle, open, readdir, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { addLine, type ChainHead, type ChainLine, newChain } from './chain.ts';
import { readStart, readTail } from './tail.ts';

export interface AuditFileOptions {
  readonly path: string;
  /** A file that has reached this size is rotated before the next write. */
  readonly rotateAtBytes: number;
  /** Rotated files to keep; all if absent. */
  readonly keep?: number;
}

export interface OpenedFile {
  readonly file: AuditFile;
  /** A sentence for each thing set aside: a torn last line, or a damaged file. */
  readonly notes: readonly string[];
}

/** Readable by the group, for log shippers. */
const FILE_MODE = 0o640;

/** Continues the chain of the file, else that of the newest rotated file, else begins one. Rejects on I/O errors. */
export async function openAuditFile(options: AuditFileOptions): Promise<OpenedFile> {
  const { path } = options;
  const notes: string[] = [];
  const tail = await readTail(path).catch(absent);
  if (tail?.kind === 'damaged') {
    const aside = await freeName(path, 'damaged');
    await rename(path, aside);
    notes.push(`${basename(path)} is damaged and stands aside as ${basename(aside)}: a new chain begins`);
    return { file: new AuditFile(options, newChain(), 0, false), notes };
  }
  if (tail?.torn !== undefined) {
    const aside = await freeName(path, 'torn');
    await writeFile(aside, tail.torn, { mode: FILE_MODE, flag: 'wx', flush: true });
    notes.push(`${tail.torn.length} bytes behind the last whole line stand aside as ${basename(aside)}`);
  }
  const head = tail?.head ?? (await headOfNewest(path)) ?? newChain();
  return { file: new AuditFile(options, head, tail?.bytes ?? 0, tail?.torn !== undefined), notes };
}

export class AuditFile {
  readonly #options: AuditFileOptions;
  #head: ChainHead;
  /** Synced bytes. */
  #bytes: number;
  #handle: FileHandle | undefined;
  #inode: bigint | undefined;
  /** Bytes after `#bytes` are from a failed write, or were set aside: they may be truncated. */
  #hasRest: boolean;

  constructor(options: AuditFileOptions, head: ChainHead, bytes: number, hasRest: boolean) {
    this.#options = options;
    this.#head = head;
    this.#bytes = bytes;
    this.#hasRest = hasRest;
  }

  /** The last synced line. */
  get head(): ChainHead {
    return this.#head;
  }

  /** Resolves when all lines are on disk; if it rejects, none of them counts. Calls must not overlap. */
  async append(bodies: readonly string[]): Promise<void> {
    let handle = await this.#usableHandle();
    if (this.#bytes >= this.#options.rotateAtBytes) {
      await this.#rotate();
      handle = await this.#usableHandle();
    }
    let head = this.#head;
    let text = '';
    for (const body of bodies) {
      const added = addLine(head, body);
      text += added.line;
      head = added.head;
    }
    const bytes = Buffer.from(text);
    try {
      for (let from = 0; from < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, from, bytes.length - from, this.#bytes + from);
        from += bytesWritten;
      }
      await handle.datasync();
    } catch (error) {
      // A failed sync may leave anything on disk: truncate it now if possible, and again before the next write.
      this.#hasRest = true;
      await handle.truncate(this.#bytes).catch(() => undefined);
      await this.close();
      throw error;
    }
    this.#bytes += bytes.length;
    this.#head = head;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => undefined);
  }

  /**
   * Returns the file at the path, truncated to what counts. If it was moved away or emptied, writing starts at byte 0.
   * Throws if its size has changed in any other way.
   */
  async #usableHandle(): Promise<FileHandle> {
    const { path } = this.#options;
    const found = await stat(path, { bigint: true }).catch(absent);
    const isOpen = this.#handle !== undefined && found?.ino === this.#inode;
    if (!isOpen) await this.close();
    const size = Number(found?.size ?? 0);
    if (size === 0) this.#bytes = 0;
    if (size !== this.#bytes && !(this.#hasRest && size > this.#bytes)) {
      await this.close();
      throw new Error(`${path} has ${size} bytes where ${this.#bytes} were written`);
    }
    return (isOpen && size === this.#bytes ? this.#handle : undefined) ?? this.#open();
  }

  async #open(): Promise<FileHandle> {
    const { path } = this.#options;
    await this.close();
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT, FILE_MODE);
    try {
      await handle.truncate(this.#bytes);
      await syncFolder(dirname(path));
      this.#inode = (await handle.stat({ bigint: true })).ino;
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#hasRest = false;
    this.#handle = handle;
    return handle;
  }

  async #rotate(): Promise<void> {
    const { path, keep } = this.#options;
    await this.close();
    await rename(path, await freeName(path, 'until'));
    this.#bytes = 0;
    await syncFolder(dirname(path));
    if (keep === undefined) return;
    const aside = await filesAside(path, this.#head.chain);
    for (const old of aside.slice(0, -keep)) await unlink(old).catch(absent);
  }
}

/**
 * Returns rotated files, oldest first: ordered by the sequence of their lines, since the clock in their names may have been
 * set back. Files of other chains come before those of `chain`, or of the chain in the file with the last name.
 */
async function filesAside(path: string, chain?: string): Promise<readonly string[]> {
  const folder = dirname(path);
  const names = (await readdir(folder)).filter((name) => name.startsWith(`${basename(path)}.until.`));
  const files: { readonly file: string; readonly first: ChainLine | undefined }[] = [];
  for (const name of names.sort()) {
    const file = join(folder, name);
    files.push({ file, first: await readStart(file).catch(absent) });
  }
  const current = chain ?? files.findLast(({ first }) => first !== undefined)?.first?.chain;
  const placeOf = (first: ChainLine | undefined): number =>
    first === undefined || first.chain !== current ? 0 : first.sequence;
  return files.sort((a, b) => placeOf(a.first) - placeOf(b.first)).map(({ file }) => file);
}

async function headOfNewest(path: string): Promise<ChainHead | undefined> {
  const newest = (await filesAside(path)).at(-1);
  const tail = newest === undefined ? undefined : await readTail(newest);
  return tail?.kind === 'sound' ? tail.head : undefined;
}

/** Returns an unused name: nothing that was set aside is overwritten. */
async function freeName(path: string, kind: 'until' | 'torn' | 'damaged'): Promise<string> {
  const stamp = new Date().toISOString().replaceAll(':', '');
  for (let tries = 1; ; tries++) {
    const name = `${path}.${kind}.${stamp}${tries === 1 ? '' : `-${tries}`}`;
    if ((await stat(name).catch(absent)) === undefined) return name;
  }
}

/** A new or renamed file survives a power failure only once its folder is synced. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}

function absent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}
