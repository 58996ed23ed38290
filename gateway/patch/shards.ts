/** Reads models in several files as one; an index says which tensor is in which file. */

import { isUtf8 } from 'node:buffer';
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { messageOf } from '../core/error-text.ts';
import { repeatedKey } from '../core/json-keys.ts';
import {
  type ModelPart,
  openSafetensors,
  SafetensorsError,
  type SafetensorsFile,
  type TensorEntry,
} from './safetensors.ts';
import { compareNames, isRecord, isStringRecord } from './safetensors-header.ts';

/** The name that Hugging Face's libraries give the index of a model in several files. */
export const INDEX_NAME = 'model.safetensors.index.json';
const INDEX_ENDING = '.safetensors.index.json';
/** A file beside the index: not in a folder, not hidden, no character with a special meaning to an operating system. */
const SHARD_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$/;

/**
 * Opens a model: a safetensors file, an index, or a folder with `model.safetensors.index.json` or `model.safetensors`
 * in it. Throws SafetensorsError.
 */
export async function openModel(path: string): Promise<SafetensorsFile> {
  if (path.endsWith(INDEX_ENDING)) return openShards(path);
  if (!(await isFolder(path))) return openSafetensors(path);
  const index = join(path, INDEX_NAME);
  return (await exists(index)) ? openShards(index) : openSafetensors(join(path, 'model.safetensors'));
}

/** Whether the path is a folder or an index, so that a model there must have a folder of its own. */
export async function isInFolder(path: string): Promise<boolean> {
  return path.endsWith(INDEX_ENDING) || isFolder(path);
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function openShards(path: string): Promise<SafetensorsFile> {
  const placed = readIndex(path, await readWhole(path));
  const names = [...new Set(placed.values())].sort(compareNames);
  const files: SafetensorsFile[] = [];
  try {
    for (const name of names) files.push(await openSafetensors(join(dirname(path), name)));
    const tensors = gather(path, placed, names, files);
    return new ShardedModel(path, names, files, tensors);
  } catch (error) {
    for (const file of files) await file.close();
    throw error;
  }
}

async function readWhole(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new SafetensorsError(path, messageOf(error), { cause: error });
  }
}

/** Maps tensor names to file names. */
function readIndex(path: string, bytes: Buffer): ReadonlyMap<string, string> {
  const text = bytes.toString('utf8');
  let index: unknown;
  try {
    index = isUtf8(bytes) ? JSON.parse(text) : undefined;
  } catch {
    index = undefined;
  }
  if (!isRecord(index)) throw new SafetensorsError(path, 'the index is not a JSON object');
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw new SafetensorsError(path, `duplicate key ${repeated}`);
  const { weight_map: placed } = index;
  if (!isStringRecord(placed)) throw new SafetensorsError(path, 'weight_map is not an object of strings');
  for (const [tensor, name] of Object.entries(placed)) {
    if (!SHARD_NAME.test(name)) {
      throw new SafetensorsError(
        path,
        `tensor ${tensor} is in ${JSON.stringify(name)}, which is not a safetensors file beside the index`,
      );
    }
  }
  return new Map(Object.entries(placed));
}

/** Returns the tensors of all files in name order; index and files must agree. */
function gather(
  path: string,
  placed: ReadonlyMap<string, string>,
  names: readonly string[],
  files: readonly SafetensorsFile[],
): readonly TensorEntry[] {
  const tensors = files.flatMap((file, part) => file.tensors.map((entry) => ({ ...entry, part })));
  for (const { name, part } of tensors) {
    if (placed.get(name) !== names[part]) {
      const where = placed.get(name) ?? 'no file';
      throw new SafetensorsError(path, `tensor ${name} is in ${names[part]}, the index says ${where}`);
    }
  }
  const there = new Set(tensors.map(({ name }) => name));
  for (const [name, file] of placed) {
    if (!there.has(name)) throw new SafetensorsError(path, `tensor ${name} is not in ${file}`);
  }
  return tensors.sort((a, b) => compareNames(a.name, b.name));
}

class ShardedModel implements SafetensorsFile {
  readonly path: string;
  readonly parts: readonly ModelPart[];
  readonly metadata = {};
  readonly tensors: readonly TensorEntry[];
  readonly sizeBytes: number;
  readonly #files: readonly SafetensorsFile[];

  constructor(
    path: string,
    names: readonly string[],
    files: readonly SafetensorsFile[],
    tensors: readonly TensorEntry[],
  ) {
    this.path = path;
    this.tensors = tensors;
    this.#files = files;
    this.sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    const shards = files.map((file, part) => ({ name: names[part] ?? '', path: file.path }));
    this.parts = [...shards, { name: basename(path), path }];
  }

  async read(entry: TensorEntry, start: number, length: number): Promise<Buffer> {
    return this.#fileOf(entry).read(entry, start, length);
  }

  async readInto(entry: TensorEntry, start: number, target: Uint8Array): Promise<void> {
    await this.#fileOf(entry).readInto(entry, start, target);
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  #fileOf(entry: TensorEntry): SafetensorsFile {
    const file = this.#files[entry.part];
    if (file === undefined) throw new RangeError(`the model has no part ${entry.part}`);
    return file;
  }
}
