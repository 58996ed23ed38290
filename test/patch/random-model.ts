/** Models with seeded random weights, including odd bit patterns, and changes that training might make to them. */

import { byteLengthOf, type Dtype, dtypeBits, elementCountOf } from '../../gateway/patch/dtype.ts';
import type { TensorData } from '../../gateway/patch/safetensors.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SlowChange } from './slow-reader.ts';

/** A planned tensor: everything but its weights. */
export type TensorPlan = readonly [name: string, dtype: Dtype, shape: readonly number[]];

export interface RandomTensor extends TensorData {
  readonly data: Buffer;
}

/** Which elements change: a few by themselves, a few stretches, all of them, or none. */
export type Change = 'singles' | 'runs' | 'dense' | 'none';

/** Bit patterns that arithmetic would not keep: zeros, infinities, NaNs with payloads, subnormals. */
const oddBits: Readonly<Partial<Record<Dtype, readonly string[]>>> = {
  F32: ['00000000', '80000000', '7f800000', 'ff800000', '7fc00001', 'ffabcdef', '7f800001', '00000001'],
  F16: ['0000', '8000', '7c00', 'fc00', '7e01', 'fdef', '7c01', '0001'],
  BF16: ['0000', '8000', '7f80', 'ff80', '7fc1', 'ffab', '7f81', '0001'],
  I8: ['00', '80', '7f', 'ff'],
};

/** Bytes of one numbered unit: an element, or a word where elements are wider or narrower than any value. */
export function unitBytes(dtype: Dtype): number {
  return Math.min(4, Math.max(1, dtypeBits[dtype] / 8));
}

/** A tensor of random bytes. */
export function randomTensor(random: SeededRandom, [name, dtype, shape]: TensorPlan): RandomTensor {
  const length = byteLengthOf(dtype, elementCountOf(shape) ?? Number.NaN) ?? 0;
  return { name, dtype, shape, data: random.bytes(length) };
}

/** The same tensor with some elements changed: every third to an odd bit pattern, the rest to anything. */
export function changeTensor(random: SeededRandom, tensor: RandomTensor, change: Change): RandomTensor {
  const data = Buffer.from(tensor.data);
  const size = unitBytes(tensor.dtype);
  const odd = (oddBits[tensor.dtype] ?? []).map((bits) => Buffer.from(bits, 'hex').reverse());
  for (const [k, index] of changedIndices(random, data.length / size, change).entries()) {
    const bytes = (k % 3 === 0 ? odd[random.below(odd.length)] : undefined) ?? random.bytes(size);
    bytes.copy(data, index * size);
  }
  return { ...tensor, data };
}

function changedIndices(random: SeededRandom, count: number, change: Change): Float64Array {
  if (change === 'none' || count === 0) return new Float64Array(0);
  if (change === 'dense') return Float64Array.from({ length: count }, (_, index) => index);
  return change === 'runs' ? random.rising(count, 0.1, 16) : random.rising(count, 0.02);
}

/** The elements whose bits differ, found one by one, in the order of a stream. */
export function compareSlowly(base: readonly RandomTensor[], target: readonly RandomTensor[]): SlowChange[] {
  const byName = [...base].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  return byName.flatMap(({ name: tensor, dtype, data }) => {
    const other = target.find(({ name }) => name === tensor)?.data ?? Buffer.alloc(0);
    const size = unitBytes(dtype);
    const changes: SlowChange[] = [];
    for (let index = 0; index * size < data.length; index++) {
      const value = other.toString('hex', index * size, index * size + size);
      if (value === data.toString('hex', index * size, index * size + size)) continue;
      changes.push({ tensor, index, value, add: false });
    }
    return changes;
  });
}

/** The bytes in pieces of the given size. */
export function* inChunks(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The same for readers that wait for their source. */
export async function* arriving(bytes: Buffer, size = 65_536): AsyncGenerator<Buffer> {
  yield* inChunks(bytes, size);
}

/** All of a stream in one piece. */
export async function gather(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
