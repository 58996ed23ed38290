/** Writes changed elements into one tensor of an open file, a window of 1 MiB at a time. */

import type { FileHandle } from 'node:fs/promises';
import { dtypeBits } from './dtype.ts';
import { elementFormats, valueFormats } from './element.ts';
import type { Indices } from './index-encoding.ts';
import { valueSizes } from './layout.ts';
import type { TensorEntry } from './safetensors.ts';
import { isExact, type ValueForm } from './value.ts';

/** A multiple of every element size. */
const windowBytes = 1024 * 1024;

/** Holds one window of the tensor; indices that rise from call to call read and write each window once. */
export class TensorWriter {
  readonly #file: FileHandle;
  readonly #entry: TensorEntry;
  readonly #elementBytes: number;
  /** Memory for a window. */
  readonly #room: Buffer;
  /** The window: its bytes, and where in the tensor it begins. */
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #dirty = false;

  constructor(file: FileHandle, entry: TensorEntry) {
    this.#file = file;
    this.#entry = entry;
    this.#elementBytes = dtypeBits[entry.dtype] / 8;
    this.#room = Buffer.allocUnsafeSlow(Math.min(windowBytes, entry.byteLength));
  }

  /**
   * Changes the given elements: `set` puts the value, `add` the sum in float32 arithmetic, both rounded to the type of
   * the tensor, nearest and ties to even. Throws RangeError for an index outside the tensor.
   */
  async write(indices: Indices, values: Buffer, form: ValueForm): Promise<void> {
    const last = indices.at(-1) ?? -1;
    if (last >= this.#entry.elementCount || (indices[0] ?? 0) < 0) {
      throw new RangeError(`tensor ${this.#entry.name} has no element ${last}`);
    }
    for (let k = 0; k < indices.length; ) {
      await this.#moveTo((indices[k] as number) * this.#elementBytes);
      k = this.#writeWindow(indices, k, values, form);
    }
  }

  /** Writes what is still in memory. */
  async flush(): Promise<void> {
    if (!this.#dirty) return;
    this.#dirty = false;
    let written = 0;
    while (written < this.#bytes.length) {
      const position = this.#entry.fileOffset + this.#start + written;
      const part = this.#bytes.subarray(written);
      written += (await this.#file.write(part, 0, part.length, position)).bytesWritten;
    }
  }

  async #moveTo(byte: number): Promise<void> {
    const start = byte - (byte % windowBytes);
    if (this.#bytes.length > 0 && start === this.#start) return;
    await this.flush();
    const bytes = this.#room.subarray(0, this.#entry.byteLength - start);
    let read = 0;
    while (read < bytes.length) {
      const position = this.#entry.fileOffset + start + read;
      const { bytesRead } = await this.#file.read(bytes, read, bytes.length - read, position);
      if (bytesRead === 0) throw new Error(`tensor ${this.#entry.name} is cut off`);
      read += bytesRead;
    }
    this.#bytes = bytes;
    this.#start = start;
  }

  /** Changes elements from the `k`th on as far as the window goes; gives back the first that is beyond it. */
  #writeWindow(indices: Indices, k: number, values: Buffer, form: ValueForm): number {
    const first = this.#start / this.#elementBytes;
    const end = first + this.#bytes.length / this.#elementBytes;
    let to = k;
    while (to < indices.length && (indices[to] as number) < end) to += 1;
    if (isExact(this.#entry.dtype, form)) this.#copy(indices, k, to, first, values);
    else this.#compute(indices, k, to, first, values, form);
    this.#dirty = true;
    return to;
  }

  #copy(indices: Indices, from: number, to: number, first: number, values: Buffer): void {
    const size = this.#elementBytes;
    const bytes = this.#bytes;
    for (let k = from; k < to; k++) {
      const at = ((indices[k] as number) - first) * size;
      for (let byte = 0; byte < size; byte++) bytes[at + byte] = values[k * size + byte] as number;
    }
  }

  #compute(indices: Indices, from: number, to: number, first: number, values: Buffer, form: ValueForm): void {
    const element = elementFormats[this.#entry.dtype];
    if (element === undefined) throw new TypeError(`${this.#entry.dtype} elements cannot be patched`);
    const value = valueFormats[form.values];
    const size = valueSizes[form.values];
    const scale = form.values === 'i8' ? form.scale : 1;
    const source = new DataView(values.buffer, values.byteOffset, values.length);
    const target = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    for (let k = from; k < to; k++) {
      const at = ((indices[k] as number) - first) * this.#elementBytes;
      const given = Math.fround(value.read(source, k * size) * scale);
      const kept = form.operation === 'add' ? element.read(target, at) : 0;
      element.write(target, at, form.operation === 'add' ? Math.fround(kept + given) : given);
    }
  }
}
