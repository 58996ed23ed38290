/** Reads safetensors files strictly, piece by piece, and writes them so that equal models make equal files. */

import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '../core/error-text.ts';
import { byteLengthOf, type Dtype, dtypeBits, elementCountOf } from './dtype.ts';
import { compareNames, parseHeader, type TensorEntry } from './safetensors-header.ts';

/** The reference implementation refuses longer headers too. */
const MAX_HEADER_BYTES = 100_000_000;

/** A file that is not safetensors as specified, or cannot be read. */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
  readonly path: string;
  readonly reason: string;

  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`${path}: ${reason}`, options);
    this.path = path;
    this.reason = reason;
  }
}

export type { TensorEntry } from './safetensors-header.ts';

/** One file of a model. */
export interface ModelPart {
  /** Its name in the folder of the model; empty if the model is this one file. */
  readonly name: string;
  readonly path: string;
}

/** An open model: one file, or several read as one (see shards.ts). Only headers are in memory. */
export interface SafetensorsFile {
  readonly path: string;
  /** All files of the model; the index, if there is one, is the last. */
  readonly parts: readonly ModelPart[];
  /** `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** In name order: by the bytes of the names in UTF-8. */
  readonly tensors: readonly TensorEntry[];
  /** Bytes of all files with tensors. */
  readonly sizeBytes: number;
  /** Reads `length` bytes of a tensor from its byte `start` on. Throws SafetensorsError beyond its end. */
  read(entry: TensorEntry, start: number, length: number): Promise<Buffer>;
  /** Like `read`, but fills `target`. */
  readInto(entry: TensorEntry, start: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Opens a file and reads its header. Throws SafetensorsError. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const handle = await translated(path, () => open(path, 'r'));
  try {
    return await readHeader(path, handle);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readHeader(path: string, handle: FileHandle): Promise<SafetensorsFile> {
  const { size } = await handle.stat();
  if (size < 8) throw new SafetensorsError(path, 'shorter than the 8 bytes of the header length');
  const prefix = await readAt(path, handle, 0, Buffer.allocUnsafe(8));
  const headerBytes = prefix.readBigUInt64LE(0);
  if (headerBytes > BigInt(Math.min(MAX_HEADER_BYTES, size - 8))) {
    throw new SafetensorsError(path, `a header of ${headerBytes} bytes does not fit`);
  }
  const json = await readAt(path, handle, 8, Buffer.allocUnsafe(Number(headerBytes)));
  if (!isUtf8(json)) throw new SafetensorsError(path, 'the header is not UTF-8');
  const dataAt = 8 + json.length;
  const header = parseHeader(json.toString('utf8'), dataAt, size - dataAt);
  if (typeof header === 'string') throw new SafetensorsError(path, header);
  return new OpenFile(path, handle, size, header.tensors, header.metadata);
}

class OpenFile implements SafetensorsFile {
  readonly path: string;
  readonly parts: readonly ModelPart[];
  readonly sizeBytes: number;
  readonly tensors: readonly TensorEntry[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly #handle: FileHandle;

  constructor(
    path: string,
    handle: FileHandle,
    sizeBytes: number,
    tensors: readonly TensorEntry[],
    metadata: Readonly<Record<string, string>>,
  ) {
    this.path = path;
    this.parts = [{ name: '', path }];
    this.#handle = handle;
    this.sizeBytes = sizeBytes;
    this.tensors = tensors;
    this.metadata = metadata;
  }

  async read(entry: TensorEntry, start: number, length: number): Promise<Buffer> {
    const target = Buffer.allocUnsafe(length);
    await this.readInto(entry, start, target);
    return target;
  }

  async readInto(entry: TensorEntry, start: number, target: Uint8Array): Promise<void> {
    if (start < 0 || start + target.length > entry.byteLength) {
      throw new SafetensorsError(this.path, `tensor ${entry.name} ends at byte ${entry.byteLength}`);
    }
    await readAt(this.path, this.#handle, entry.fileOffset + start, target);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

async function readAt<Bytes extends Uint8Array>(
  path: string,
  handle: FileHandle,
  position: number,
  target: Bytes,
): Promise<Bytes> {
  let read = 0;
  while (read < target.length) {
    const from = read;
    const { bytesRead } = await translated(path, () =>
      handle.read(target, from, target.length - from, position + from),
    );
    if (bytesRead === 0) throw new SafetensorsError(path, 'the file ended early');
    read += bytesRead;
  }
  return target;
}

async function translated<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw new SafetensorsError(path, messageOf(error), { cause: error });
  }
}

/** A tensor to write. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The elements, little-endian, row by row; in pieces if memory does not hold them all. */
  readonly data: Uint8Array | AsyncIterable<Uint8Array>;
}

/** A tensor in memory. */
export interface TensorData extends TensorSource {
  readonly data: Uint8Array;
}

/**
 * Writes a file: widest element types first and names in order within a width, so every tensor is aligned and the
 * same tensors give the same bytes. The file appears whole or not at all. Throws SafetensorsError.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const ordered = [...tensors].sort(
    (a, b) => dtypeBits[b.dtype] - dtypeBits[a.dtype] || compareNames(a.name, b.name),
  );
  const header = headerOf(path, ordered, metadata);
  const part = `${path}.${randomUUID()}.part`;
  try {
    await translated(path, () => writeWhole(part, header, ordered));
    await translated(path, () => rename(part, path));
    await translated(path, () => syncFolder(dirname(path)));
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** The header, preceded by its length and padded with spaces to a multiple of 8. */
function headerOf(
  path: string,
  tensors: readonly TensorSource[],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  const notes = Object.entries(metadata).sort(([a], [b]) => compareNames(a, b));
  const fields: [string, unknown][] = notes.length > 0 ? [['__metadata__', Object.fromEntries(notes)]] : [];
  const names = new Set(['__metadata__']);
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    const length = byteLengthOf(dtype, elementCountOf(shape) ?? Number.NaN);
    if (length === undefined)
      throw new SafetensorsError(path, `the shape of tensor ${name} does not make whole bytes`);
    if (!name.isWellFormed())
      throw new SafetensorsError(path, 'the name of a tensor is not well-formed Unicode');
    if (names.has(name)) throw new SafetensorsError(path, `duplicate or reserved tensor name ${name}`);
    names.add(name);
    fields.push([name, { dtype, shape, data_offsets: [offset, offset + length] }]);
    offset += length;
  }
  // Joined by hand: an object would move names that look like numbers to the front.
  const json = `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`;
  const length = Math.ceil(Buffer.byteLength(json) / 8) * 8;
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length), 0);
  header.write(json, 8);
  return header;
}

async function writeWhole(path: string, header: Buffer, tensors: readonly TensorSource[]): Promise<void> {
  const handle = await open(path, 'wx');
  try {
    await handle.appendFile(header);
    for (const tensor of tensors) await writeTensor(handle, tensor);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeTensor(handle: FileHandle, { name, dtype, shape, data }: TensorSource): Promise<void> {
  const length = byteLengthOf(dtype, elementCountOf(shape) ?? Number.NaN);
  let written = 0;
  for await (const piece of data instanceof Uint8Array ? [data] : data) {
    await handle.appendFile(piece);
    written += piece.length;
  }
  if (written !== length) throw new Error(`tensor ${name} has ${written} bytes, its shape ${length}`);
}

/** Makes changes of names in this folder survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  await syncFile(path);
}

/** Makes what was written to this file survive a power cut. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
