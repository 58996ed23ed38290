/** Copies a model to be changed in place: the same files under another path, sparse if they were sparse. */

import { constants } from 'node:fs';
import { chmod, copyFile, type FileHandle, mkdir, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../core/units.ts';
import { type SafetensorsFile, syncFolder, type TensorEntry } from './safetensors.ts';

/** Bytes copied at a time if holes must stay holes. */
const PIECE_BYTES = MIB;
/** The unit in which `stat` counts blocks, whatever the file system's own block size. */
const BLOCK_BYTES = 512;

/** The files of the copy, which stay until `discard`; everything written is on disk after `sync`. */
export class ModelCopy {
  /** The path that `openModel` takes. */
  readonly path: string;
  readonly #root: string;
  #handles: readonly FileHandle[];
  readonly #inFolder: boolean;

  private constructor(root: string, path: string, handles: readonly FileHandle[], inFolder: boolean) {
    this.#root = root;
    this.path = path;
    this.#handles = handles;
    this.#inFolder = inFolder;
  }

  /**
   * Copies every file of a model: a single file to `path` itself; several, with their index, into a folder at `path`.
   * Nothing may exist there yet, and nothing is left there if copying fails.
   */
  static async create(model: SafetensorsFile, path: string): Promise<ModelCopy> {
    const inFolder = model.parts.some(({ name }) => name !== '');
    if (inFolder) await mkdir(path);
    const handles: FileHandle[] = [];
    try {
      for (const part of model.parts) {
        handles.push(await copyWithHoles(part.path, join(path, part.name)));
      }
    } catch (error) {
      for (const handle of handles) await handle.close();
      if (inFolder || handles.length > 0) await rm(path, { recursive: true, force: true });
      throw error;
    }
    // The index is the last part; the part of a model in one file has no name.
    return new ModelCopy(path, join(path, model.parts.at(-1)?.name ?? ''), handles, inFolder);
  }

  /** The open file that holds a tensor. */
  handleOf(entry: TensorEntry): FileHandle {
    const handle = this.#handles[entry.part];
    if (handle === undefined) throw new RangeError(`the model has no part ${entry.part}`);
    return handle;
  }

  async sync(): Promise<void> {
    for (const handle of this.#handles) await handle.sync();
    if (this.#inFolder) await syncFolder(this.#root);
  }

  /** Closes the files; a second call does nothing. */
  async close(): Promise<void> {
    const handles = this.#handles;
    this.#handles = [];
    for (const handle of handles) await handle.close();
  }

  async discard(): Promise<void> {
    await this.close();
    await rm(this.#root, { recursive: true, force: true });
  }
}

/**
 * Copies a file to a path where nothing exists yet, and opens the copy. A sparse file takes no more room than before,
 * to within a piece. Leaves nothing behind if it fails.
 */
async function copyWithHoles(from: string, to: string): Promise<FileHandle> {
  const { size, blocks } = await stat(from);
  const target = await open(to, 'wx+');
  try {
    if (blocks * BLOCK_BYTES >= size) {
      await copyWritable(from, to);
    } else {
      await target.truncate(size);
      await copyPieces(from, target, size);
    }
    return target;
  } catch (error) {
    await target.close();
    await rm(to, { force: true });
    throw error;
  }
}

/** Copies a file over whatever is at a path. The copy is writable even if the file is read-only. */
export async function copyWritable(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  const { mode } = await stat(to);
  if ((mode & constants.S_IWUSR) === 0) await chmod(to, mode | constants.S_IWUSR);
}

async function copyPieces(from: string, target: FileHandle, size: number): Promise<void> {
  const source = await open(from, 'r');
  const memory = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size));
  const zeros = Buffer.alloc(memory.length);
  try {
    for (let at = 0; at < size; ) {
      const { bytesRead } = await source.read(memory, 0, memory.length, at);
      if (bytesRead === 0) throw new Error(`${from} ended early`);
      const piece = memory.subarray(0, bytesRead);
      if (!piece.equals(zeros.subarray(0, bytesRead))) await writeAll(target, piece, at);
      at += bytesRead;
    }
  } finally {
    await source.close();
  }
}

/** Writes all bytes at the given position, in as many calls as that takes. */
export async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const part = bytes.subarray(written);
    written += (await file.write(part, 0, part.length, position + written)).bytesWritten;
  }
}
