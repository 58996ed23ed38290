/** Writes changed elements into one tensor of an open file, a window of 1 MiB at a time. */

import type { FileHandle } from 'node:fs/promises';
import { MIB } from '../core/units.ts';
import type { TensorFields } from './format.ts';
import { valueSizes } from './layout.ts';
import { writeAll } from './model-copy.ts';
import type { TensorEntry } from './safetensors.ts';
import { type ElementChange, setElements } from './set-elements.ts';
import { exactEncodings } from './value.ts';

/** A multiple of every element size. */
const WINDOW_BYTES = MIB;

/** Holds one window of the tensor; if indices ascend from call to call, each window is read and written once. */
export class TensorWriter {
  readonly #file: FileHandle;
  readonly #entry: TensorEntry;
  readonly #tensor: TensorFields;
  readonly #elementBytes: number;
  /** Memory for a window. */
  readonly #room: Buffer;
  /** The window: its bytes, and where in the tensor it begins. */
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #dirty = false;

  /** `tensor` describes it as the frames do (see `tensorFields`). */
  constructor(file: FileHandle, entry: TensorEntry, tensor: TensorFields) {
    this.#file = file;
    this.#entry = entry;
    this.#tensor = tensor;
    this.#elementBytes = valueSizes[exactEncodings[entry.dtype]];
    this.#room = Buffer.allocUnsafeSlow(Math.min(WINDOW_BYTES, entry.byteLength));
  }

  /** Changes elements, each in its window (see `setElements`). Throws RangeError for an index outside the tensor. */
  async write(change: ElementChange): Promise<void> {
    const { indices } = change;
    const last = indices.at(-1) ?? -1;
    if (last >= this.#tensor.elementCount || (indices[0] ?? 0) < 0) {
      throw new RangeError(`tensor ${this.#entry.name} has no element ${last}`);
    }
    for (let k = 0; k < indices.length; ) {
      await this.#moveTo((indices[k] as number) * this.#elementBytes);
      k = this.#writeWindow(change, k);
    }
  }

  /** Writes the window back if it was changed. */
  async flush(): Promise<void> {
    if (!this.#dirty) return;
    this.#dirty = false;
    await writeAll(this.#file, this.#bytes, this.#entry.fileOffset + this.#start);
  }

  async #moveTo(byte: number): Promise<void> {
    const start = byte - (byte % WINDOW_BYTES);
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

  /** Changes elements from the `k`th on that are in the window; returns the position of the first beyond it. */
  #writeWindow(change: ElementChange, k: number): number {
    const { indices } = change;
    const first = this.#start / this.#elementBytes;
    const end = first + this.#bytes.length / this.#elementBytes;
    let to = k;
    while (to < indices.length && (indices[to] as number) < end) to += 1;
    setElements({ bytes: this.#bytes, first }, this.#tensor, change, k, to);
    this.#dirty = true;
    return to;
  }
}
