/** Weights of one tensor, as training changes them. */

import { readFile, writeFile } from 'node:fs/promises';
import { openSafetensors, writeSafetensors } from '../../gateway/patch/safetensors.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

/** Weights that are trained in small steps of all of them. */
export class Weights {
  readonly values: Float32Array;
  readonly #random: SeededRandom;

  constructor(seed: number, count: number) {
    this.#random = new SeededRandom(seed);
    this.values = new Float32Array(count).map(() => this.#random.next() * 2 - 1);
  }

  step(size: number): void {
    for (let k = 0; k < this.values.length; k++) {
      this.values[k] = (this.values[k] ?? 0) + (this.#random.next() - 0.4) * size;
    }
  }

  save(path: string): Promise<void> {
    const data = Buffer.from(this.values.buffer.slice(0));
    return writeSafetensors(path, [{ name: 'w', dtype: 'F32', shape: [this.values.length], data }]);
  }

  /** Overwrites the weights of a saved file without waiting for the disk. */
  async overwrite(path: string): Promise<void> {
    const file = await readFile(path);
    const data = Buffer.from(this.values.buffer);
    data.copy(file, file.length - data.length);
    await writeFile(path, file);
  }
}

export async function valuesOf(path: string): Promise<Float32Array> {
  const file = await openSafetensors(path);
  const [entry] = file.tensors;
  if (entry === undefined) throw new Error('no tensor');
  const bytes = await file.read(entry, 0, entry.byteLength);
  await file.close();
  return new Float32Array(new Uint8Array(bytes).buffer);
}

export function furthest(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, k) => Math.max(most, Math.abs(value - (b[k] ?? 0))), 0);
}
