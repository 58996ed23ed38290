/** Compares two models piece by piece and yields the elements that changed, with their new bits. */

import { MIB } from '../core/units.ts';
import { Comparison } from './compare.ts';
import type { Dtype } from './dtype.ts';
import { elementFormats } from './element.ts';
import type { TensorFields } from './format.ts';
import type { Indices } from './index-encoding.ts';
import {
  MAX_HEADER_LENGTH,
  MAX_RANK,
  MAX_WRITTEN_ELEMENTS,
  type Operation,
  padded,
  TENSOR_LENGTH,
  type ValueEncoding,
  valueSizes,
} from './layout.ts';
import type { SafetensorsFile, TensorEntry } from './safetensors.ts';
import { type ElementSize, gatherElements, viewOf } from './scatter.ts';
import { exactEncodings, wordBytesOf } from './value.ts';

/** Changed elements of one tensor, ascending. A tensor may have several of these, one after the other. */
export interface TensorChange {
  readonly tensor: TensorFields;
  /** Strictly ascending, and above those of the tensor's previous change. */
  readonly indices: Indices;
  /** One value per index in the given encoding, little-endian. */
  readonly values: Buffer;
  readonly encoding: ValueEncoding;
  /** `set` when absent. */
  readonly operation?: Operation;
  /** What i8 values are multiplied by; 1 when absent. */
  readonly scale?: number;
}

/** No patch can lead from one model to the other. */
export class ModelDiffError extends Error {
  override readonly name = 'ModelDiffError';
  /** The name of the tensor that prevents it. */
  readonly tensor: string;

  constructor(tensor: string, reason: string) {
    super(`tensor ${tensor} ${reason}`);
    this.tensor = tensor;
  }
}

export interface DiffOptions {
  /** Leaves out changes up to this size. 0, the default, compares bits, so NaN payloads and -0 are changes too. */
  readonly threshold?: number;
}

/** Bytes of a tensor compared at a time; a multiple of every element size. */
const PIECE_BYTES = MIB;

/**
 * Yields what must be set in `base` to make it `target`. Reads both in pieces of 1 MiB; memory grows only with the
 * changes of one frame. Throws ModelDiffError if the models do not have the same tensors, or if a changed tensor's name
 * and shape do not fit into a TENSOR frame; throws SafetensorsError if reading fails.
 */
export async function* diffModels(
  base: SafetensorsFile,
  target: SafetensorsFile,
  options: DiffOptions = {},
): AsyncGenerator<TensorChange> {
  requireSameTensors(base, target);
  // A small model does not allocate memory that it cannot fill.
  const longest = base.tensors.reduce((most, { byteLength }) => Math.max(most, byteLength), 0);
  const comparison = new Comparison(Math.min(PIECE_BYTES, padded(longest)));
  for (const [tensorId, entry] of base.tensors.entries()) {
    const other = target.tensors[tensorId];
    if (other === undefined) return;
    const sides = { before: { file: base, entry }, after: { file: target, entry: other } };
    yield* diffTensor(sides, comparison, tensorFields(tensorId, entry), options.threshold ?? 0);
  }
}

/** A tensor as the frames of a patch describe it: by its elements, or by the words they are patched in. */
export function tensorFields(tensorId: number, entry: TensorEntry): TensorFields {
  const { name, dtype, shape, elementCount, byteLength } = entry;
  const wordBytes = wordBytesOf(dtype);
  if (wordBytes === undefined) return { tensorId, dtype, elementCount, shape, name };
  const words = byteLength / wordBytes;
  return { tensorId, dtype, words: true, elementCount: words, shape: [words], name };
}

/** Throws ModelDiffError unless both have tensors of the same names, types and shapes. */
function requireSameTensors(base: SafetensorsFile, target: SafetensorsFile): void {
  const targets = new Map(target.tensors.map((entry) => [entry.name, entry]));
  for (const { name, dtype, shape } of base.tensors) {
    const other = targets.get(name);
    if (other === undefined) throw new ModelDiffError(name, 'is missing from the target');
    if (other.dtype !== dtype)
      throw new ModelDiffError(name, `is ${dtype} in the base, ${other.dtype} in the target`);
    if (other.shape.join() !== shape.join()) {
      throw new ModelDiffError(name, `is [${shape}] in the base, [${other.shape}] in the target`);
    }
    targets.delete(name);
  }
  for (const name of targets.keys()) throw new ModelDiffError(name, 'is missing from the base');
}

/** A tensor in its file. */
interface Side {
  readonly file: SafetensorsFile;
  readonly entry: TensorEntry;
}

/** The same thing of the base and of the target. */
interface Both<Item> {
  readonly before: Item;
  readonly after: Item;
}

async function* diffTensor(
  sides: Both<Side>,
  comparison: Comparison,
  tensor: TensorFields,
  threshold: number,
): AsyncGenerator<TensorChange> {
  const { dtype, byteLength } = sides.before.entry;
  const encoding = exactEncodings[dtype];
  const size = valueSizes[encoding];
  const changes = new Changes(tensor, encoding);
  for (let start = 0; start < byteLength; start += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES, byteLength - start);
    const before = comparison.before(length);
    const after = comparison.after(length);
    await sides.before.file.readInto(sides.before.entry, start, before);
    await sides.after.file.readInto(sides.after.entry, start, after);
    if (before.equals(after)) continue;
    requireTensorFrame(tensor);
    const changed = comparison.changed(length, size);
    const kept = threshold === 0 ? changed : changed.filter(largerThan(threshold, before, after, dtype));
    for (let taken = 0; taken < kept.length; ) {
      if (changes.full) yield changes.take();
      taken += changes.add(start / size, kept.subarray(taken), after);
    }
  }
  if (changes.count > 0) yield changes.take();
}

/** Throws ModelDiffError unless the name and the shape fit into the header of a TENSOR frame. */
function requireTensorFrame({ name, shape }: TensorFields): void {
  const rank = shape.length;
  if (rank > MAX_RANK) throw new ModelDiffError(name, `changed, but WPF1 cannot carry ${rank} dimensions`);
  const nameBytes = Buffer.byteLength(name);
  if (TENSOR_LENGTH + 8 * rank + padded(nameBytes) > MAX_HEADER_LENGTH) {
    throw new ModelDiffError(name, `changed, but WPF1 cannot carry a name of ${nameBytes} bytes`);
  }
}

/** Returns whether an element moved by more than the threshold. A change from, to or between NaN always did. */
function largerThan(threshold: number, before: Buffer, after: Buffer, dtype: Dtype) {
  const format = elementFormats[dtype];
  const size = valueSizes[exactEncodings[dtype]];
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
  readonly #size: ElementSize;
  #indices = new Float64Array(0);
  #values = new ArrayBuffer(0);
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
    return this.#count === MAX_WRITTEN_ELEMENTS;
  }

  /** Adds as many elements of a piece as fit and returns how many. The piece begins at element `first`. */
  add(first: number, elements: Uint32Array, piece: Buffer): number {
    const added = Math.min(elements.length, MAX_WRITTEN_ELEMENTS - this.#count);
    this.#reserve(this.#count + added);
    for (let k = 0; k < added; k++) this.#indices[this.#count + k] = first + (elements[k] as number);
    const values = viewOf(this.#values, 0, this.#values.byteLength, this.#size);
    const source = viewOf(piece.buffer, piece.byteOffset, piece.length, this.#size);
    gatherElements(values, this.#count, source, elements, added);
    this.#count += added;
    return added;
  }

  /** Grows the room fourfold up to a frame, so that few changes take little memory. */
  #reserve(needed: number): void {
    if (needed <= this.#indices.length) return;
    const room = Math.min(Math.max(64, needed, this.#indices.length * 4), MAX_WRITTEN_ELEMENTS);
    const indices = new Float64Array(room);
    indices.set(this.#indices);
    this.#indices = indices;
    const values = new Uint8Array(room * this.#size);
    values.set(new Uint8Array(this.#values));
    this.#values = values.buffer;
  }

  take(): TensorChange {
    const change = {
      tensor: this.#tensor,
      indices: this.#indices.subarray(0, this.#count),
      values: Buffer.from(this.#values, 0, this.#count * this.#size),
      encoding: this.#encoding,
    };
    this.#indices = new Float64Array(0);
    this.#values = new ArrayBuffer(0);
    this.#count = 0;
    return change;
  }
}
