/** Compares two models piece by piece and gives the elements that changed, with the bits they changed to. */

import type { Dtype } from './dtype.ts';
import { elementFormats } from './element.ts';
import type { TensorFields } from './format.ts';
import type { Indices } from './index-encoding.ts';
import {
  maxHeaderLength,
  maxRank,
  type Operation,
  padded,
  tensorLength,
  type ValueEncoding,
  valueSizes,
  writerMaxElements,
} from './layout.ts';
import type { SafetensorsFile, TensorEntry } from './safetensors.ts';
import { exactEncodings } from './value.ts';

/** Changed elements of one tensor, in rising order. A tensor may come in several of these, one after the other. */
export interface TensorChange {
  readonly tensor: TensorFields;
  /** Strictly rising, and above those of the tensor's change before this one. */
  readonly indices: Indices;
  /** One value per index in the given encoding, little-endian. */
  readonly values: Buffer;
  readonly encoding: ValueEncoding;
  /** `set` when absent. */
  readonly operation?: Operation;
  /** What i8 values are multiplied by; 1 when absent. */
  readonly scale?: number;
}

/** Two models that no patch leads between. */
export class ModelDiffError extends Error {
  override readonly name = 'ModelDiffError';
  /** The tensor in the way. */
  readonly tensor: string;

  constructor(tensor: string, reason: string) {
    super(`tensor ${tensor} ${reason}`);
    this.tensor = tensor;
  }
}

/** How to compare. */
export interface DiffOptions {
  /** Leave out changes up to this size; 0, the default, compares bits, so NaN payloads and -0 are changes too. */
  readonly threshold?: number;
}

/** How much of a tensor is compared at a time. */
const pieceBytes = 1024 * 1024;
/** Equal stretches of this size are passed over by one comparison of memory. */
const blockBytes = 4096;

/**
 * What has to be set in `base` to make it `target`. Reads both in pieces of 1 MiB; memory grows with the changes of
 * one frame alone. Throws ModelDiffError when the models have not the same tensors, or when a tensor changed whose
 * type has no value encoding in WPF1 (all but F32, F16, BF16 and I8) or whose name and shape no TENSOR frame holds;
 * throws SafetensorsError when reading fails.
 */
export async function* diffModels(
  base: SafetensorsFile,
  target: SafetensorsFile,
  options: DiffOptions = {},
): AsyncGenerator<TensorChange> {
  requireSameTensors(base, target);
  const pieces = { before: new ArrayBuffer(pieceBytes), after: new ArrayBuffer(pieceBytes) };
  for (const [tensorId, entry] of base.tensors.entries()) {
    const other = target.tensors[tensorId];
    if (other === undefined) return;
    const sides = { before: { file: base, entry }, after: { file: target, entry: other } };
    yield* diffTensor(sides, pieces, tensorId, options.threshold ?? 0);
  }
}

/** Throws ModelDiffError unless both have tensors of the same names, types and shapes. */
export function requireSameTensors(base: SafetensorsFile, target: SafetensorsFile): void {
  const targets = new Map(target.tensors.map((entry) => [entry.name, entry]));
  for (const { name, dtype, shape } of base.tensors) {
    const other = targets.get(name);
    if (other === undefined) throw new ModelDiffError(name, 'is missing in the target');
    if (other.dtype !== dtype)
      throw new ModelDiffError(name, `is ${dtype} in the base, ${other.dtype} in the target`);
    if (other.shape.join() !== shape.join()) {
      throw new ModelDiffError(name, `is [${shape}] in the base, [${other.shape}] in the target`);
    }
    targets.delete(name);
  }
  for (const name of targets.keys()) throw new ModelDiffError(name, 'is missing in the base');
}

/** A tensor in its file. */
interface Side {
  readonly file: SafetensorsFile;
  readonly entry: TensorEntry;
}

/** What is compared: the base, and the target. */
interface Both<Item> {
  readonly before: Item;
  readonly after: Item;
}

async function* diffTensor(
  sides: Both<Side>,
  pieces: Both<ArrayBuffer>,
  tensorId: number,
  threshold: number,
): AsyncGenerator<TensorChange> {
  const { name, shape, elementCount, byteLength, dtype } = sides.before.entry;
  const encoding = exactEncodings[dtype];
  const changes = new Changes({ tensorId, dtype, elementCount, shape, name }, encoding ?? 'i8');
  for (let start = 0; start < byteLength; start += pieceBytes) {
    const length = Math.min(pieceBytes, byteLength - start);
    const before = await readPiece(sides.before, start, pieces.before, length);
    const after = await readPiece(sides.after, start, pieces.after, length);
    if (before.equals(after)) continue;
    if (encoding === undefined)
      throw new ModelDiffError(name, `changed, and WPF1 cannot carry ${dtype} values`);
    requireTensorFrame(sides.before.entry);
    const size = valueSizes[encoding];
    const changed = changedElements(before, after, dtype, size, threshold);
    for (const element of changed) {
      if (changes.full) yield changes.take();
      changes.add(start / size + element, after, element * size);
    }
  }
  if (changes.count > 0) yield changes.take();
}

/** Throws ModelDiffError unless the name and the shape fit into the header of a TENSOR frame. */
function requireTensorFrame({ name, shape }: TensorEntry): void {
  const rank = shape.length;
  if (rank > maxRank) throw new ModelDiffError(name, `changed, and WPF1 cannot carry ${rank} dimensions`);
  const nameBytes = Buffer.byteLength(name);
  if (tensorLength + 8 * rank + padded(nameBytes) > maxHeaderLength) {
    throw new ModelDiffError(name, `changed, and WPF1 cannot carry a name of ${nameBytes} bytes`);
  }
}

async function readPiece(side: Side, start: number, memory: ArrayBuffer, length: number): Promise<Buffer> {
  const piece = Buffer.from(memory, 0, length);
  await side.file.readInto(side.entry, start, piece);
  return piece;
}

/** Elements of a piece that changed, by their place in it. */
function changedElements(
  before: Buffer,
  after: Buffer,
  dtype: Dtype,
  size: 1 | 2 | 4,
  threshold: number,
): Uint32Array {
  const changed = new Uint32Array(before.length / size);
  const old = elementBits(before, size);
  const now = elementBits(after, size);
  const perBlock = blockBytes / size;
  let count = 0;
  for (let from = 0; from < old.length; from += perBlock) {
    const to = Math.min(from + perBlock, old.length);
    if (before.compare(after, from * size, to * size, from * size, to * size) === 0) continue;
    for (let at = from; at < to; at++) {
      if (old[at] !== now[at]) changed[count++] = at;
    }
  }
  const all = changed.subarray(0, count);
  return threshold === 0 ? all : all.filter(largerThan(threshold, before, after, dtype, size));
}

/** The elements as unsigned integers of their width: equal exactly when their bits are. */
function elementBits(bytes: Buffer, size: 1 | 2 | 4): Uint8Array | Uint16Array | Uint32Array {
  if (size === 4) return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return size === 2 ? new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2) : bytes;
}

/** Whether an element moved by more than the threshold; from, to or between NaN it always did. */
function largerThan(threshold: number, before: Buffer, after: Buffer, dtype: Dtype, size: number) {
  const format = elementFormats[dtype];
  const old = new DataView(before.buffer, before.byteOffset, before.length);
  const now = new DataView(after.buffer, after.byteOffset, after.length);
  return (element: number): boolean => {
    if (format === undefined) return true;
    const moved = Math.abs(format.read(now, element * size) - format.read(old, element * size));
    return !(moved <= threshold);
  };
}

/** Gathers changes of one tensor until they fill a frame. */
class Changes {
  readonly #tensor: TensorFields;
  readonly #encoding: ValueEncoding;
  readonly #size: number;
  #indices = new Float64Array(0);
  #values = Buffer.alloc(0);
  #count = 0;

  constructor(tensor: TensorFields, encoding: ValueEncoding) {
    this.#tensor = tensor;
    this.#encoding = encoding;
    this.#size = valueSizes[encoding];
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === writerMaxElements;
  }

  /** Adds the element whose bytes stand at `from`. */
  add(index: number, bytes: Buffer, from: number): void {
    if (this.#count === this.#indices.length) this.#grow();
    this.#indices[this.#count] = index;
    const at = this.#count * this.#size;
    for (let k = 0; k < this.#size; k++) this.#values[at + k] = bytes[from + k] as number;
    this.#count += 1;
  }

  #grow(): void {
    const room = Math.min(Math.max(64, this.#count * 4), writerMaxElements);
    const indices = new Float64Array(room);
    indices.set(this.#indices);
    this.#indices = indices;
    this.#values = Buffer.concat([this.#values], room * this.#size);
  }

  take(): TensorChange {
    const change = {
      tensor: this.#tensor,
      indices: this.#indices.subarray(0, this.#count),
      values: this.#values.subarray(0, this.#count * this.#size),
      encoding: this.#encoding,
    };
    this.#indices = new Float64Array(0);
    this.#values = Buffer.alloc(0);
    this.#count = 0;
    return change;
  }
}
