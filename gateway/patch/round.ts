/** Rounds changes to an encoding with fewer bits, and leaves out those that would not change the receiver's weights. */

import { MIB } from '../core/units.ts';
import type { TensorChange } from './diff.ts';
import { elementFormats, type NumberFormat, valueFormats } from './element.ts';
import type { Indices } from './index-encoding.ts';
import { type ValueEncoding, valueSizes } from './layout.ts';
import type { SafetensorsFile, TensorEntry } from './safetensors.ts';

/** The largest magnitude an i8 holds with either sign. */
const MAX_I8 = 127;
/** Bytes of the base read at a time. */
const WINDOW_BYTES = MIB;

/**
 * Yields the same changes with f16, bf16 or i8 values. Floats are set to the nearest value of the encoding. An i8 is
 * added: it is the step in 127ths of the largest step of its change, so what is left of a step shrinks each time it is
 * sent. Values that would not change the receiver's bits are left out, so no rounding error is sent twice. Yields a
 * change as it is if the encoding does not shorten its values, if a step for i8 is not finite, or if a finite weight
 * would become infinite. `base` is what the receiver has. Throws SafetensorsError.
 */
export async function* roundChanges(
  base: SafetensorsFile,
  changes: AsyncIterable<TensorChange>,
  encoding: ValueEncoding,
): AsyncGenerator<TensorChange> {
  const entries = new Map(base.tensors.map((entry) => [entry.name, entry]));
  for await (const change of changes) {
    const entry = entries.get(change.tensor.name);
    const element = entry && elementFormats[entry.dtype];
    const shorter = valueSizes[encoding] < valueSizes[change.encoding];
    const rounded =
      entry && element && shorter ? await round({ base, entry, element }, change, encoding) : change;
    if (rounded.indices.length > 0) yield rounded;
  }
}

/** The tensor a change is for, as the receiver has it. */
interface Receiver {
  readonly base: SafetensorsFile;
  readonly entry: TensorEntry;
  readonly element: NumberFormat;
}

async function round(
  receiver: Receiver,
  change: TensorChange,
  encoding: ValueEncoding,
): Promise<TensorChange> {
  const { element } = receiver;
  const from = await heldValues(receiver, change.indices);
  const to = givenValues(change, element);
  const adds = encoding === 'i8';
  const scale = adds ? stepScale(from, to) : 1;
  if (!Number.isFinite(scale)) return change;
  const size = valueSizes[encoding];
  const values = Buffer.alloc(from.length * size);
  const roundOne = rounding(values, element, encoding, scale);
  const indices = new Float64Array(from.length);
  let count = 0;
  for (let k = 0; k < from.length; k++) {
    const [old, now] = [from[k] as number, to[k] as number];
    const held = roundOne(count, old, now);
    if (Number.isFinite(now) && !Number.isFinite(held)) return change;
    if (Object.is(held, old)) continue;
    indices[count] = change.indices[k] as number;
    count += 1;
  }
  return {
    tensor: change.tensor,
    indices: indices.subarray(0, count),
    values: values.subarray(0, count * size),
    encoding,
    operation: adds ? 'add' : 'set',
    ...(adds && { scale }),
  };
}

/** Returns a function that writes the value leading from `old` to `now` and returns what the receiver will have. */
function rounding(
  values: Buffer,
  element: NumberFormat,
  encoding: ValueEncoding,
  scale: number,
): (place: number, old: number, now: number) => number {
  const [format, size] = [valueFormats[encoding], valueSizes[encoding]];
  const target = new DataView(values.buffer, values.byteOffset, values.length);
  const made = new DataView(new ArrayBuffer(4));
  const adds = encoding === 'i8';
  return (place, old, now) => {
    format.write(target, place * size, adds ? stepsOf(scale, old, now) : now);
    const given = Math.fround(format.read(target, place * size) * scale);
    element.write(made, 0, adds ? Math.fround(old + given) : given);
    return element.read(made, 0);
  };
}

/** One 127th of the largest step; not finite if a step is not. */
function stepScale(from: Float64Array, to: Float64Array): number {
  let most = 0;
  for (let k = 0; k < from.length; k++) {
    const step = Math.abs((to[k] as number) - (from[k] as number));
    // NaN is not above anything, but must win.
    if (!(step <= most)) most = step;
    if (!Number.isFinite(step)) break;
  }
  return Math.fround(most / MAX_I8);
}

function stepsOf(scale: number, from: number, to: number): number {
  const steps = scale === 0 ? 0 : Math.round((to - from) / scale);
  return Math.max(-MAX_I8, Math.min(MAX_I8, steps));
}

function givenValues({ indices, values, encoding }: TensorChange, element: NumberFormat): Float64Array {
  const size = valueSizes[encoding];
  const bytes = new DataView(values.buffer, values.byteOffset, values.length);
  return Float64Array.from(indices, (_, k) => element.read(bytes, k * size));
}

/** Reads what the receiver has in place of the changed elements. */
async function heldValues({ base, entry, element }: Receiver, indices: Indices): Promise<Float64Array> {
  const size = entry.byteLength / entry.elementCount;
  const memory = Buffer.allocUnsafeSlow(Math.min(WINDOW_BYTES, entry.byteLength));
  const view = new DataView(memory.buffer, memory.byteOffset, memory.length);
  const held = new Float64Array(indices.length);
  let [start, end] = [0, 0];
  for (let k = 0; k < indices.length; k++) {
    const at = (indices[k] as number) * size;
    if (at >= end) {
      start = at;
      end = Math.min(start + memory.length, entry.byteLength);
      await base.readInto(entry, start, memory.subarray(0, end - start));
    }
    held[k] = element.read(view, at - start);
  }
  return held;
}
