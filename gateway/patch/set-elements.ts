/** Changes elements of a tensor, or of a stretch of one, in memory. */

import { elementFormats, valueFormats } from './element.ts';
import type { Indices } from './index-encoding.ts';
import { valueSizes } from './layout.ts';
import { elementsOf, scatterElements, viewOf } from './scatter.ts';
import { type ElementForm, isExact, type ValueForm } from './value.ts';

/** A stretch of a tensor in memory. */
export interface Stretch {
  /** Its `byteOffset` is a multiple of 4. */
  readonly bytes: Buffer;
  /** The index in the tensor of its first element. */
  readonly first: number;
}

/** Which elements are changed, and to what. */
export interface ElementChange {
  readonly indices: Indices;
  /** One value per index, little-endian. */
  readonly values: Buffer;
  readonly form: ValueForm;
}

/**
 * Changes the elements from `indices[from]` up to, not including, `indices[to]`, which must lie in the stretch. `set`
 * puts the value, `add` the sum in float32 arithmetic, both rounded to the type of the tensor, to nearest, ties to
 * even. Throws TypeError if the elements cannot take such values.
 */
export function setElements(
  stretch: Stretch,
  element: ElementForm,
  change: ElementChange,
  from = 0,
  to = change.indices.length,
): void {
  const { indices, values, form } = change;
  if (!isExact(element, form)) {
    computeElements(stretch, element, change, from, to);
    return;
  }
  const size = valueSizes[form.values];
  const { buffer, byteOffset, length } = stretch.bytes;
  const target = viewOf(buffer, byteOffset, length, size);
  scatterElements(target, stretch.first, elementsOf(values, size), indices, from, to);
}

function computeElements(
  { bytes, first }: Stretch,
  { dtype }: ElementForm,
  { indices, values, form }: ElementChange,
  from: number,
  to: number,
): void {
  const element = elementFormats[dtype];
  if (element === undefined) throw new TypeError(`${dtype} elements take only their own bits`);
  const value = valueFormats[form.values];
  const size = valueSizes[form.values];
  const elementBytes = dtype === 'F32' ? 4 : 2;
  const scale = form.values === 'i8' ? form.scale : 1;
  const source = new DataView(values.buffer, values.byteOffset, values.length);
  const target = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let k = from; k < to; k++) {
    const at = ((indices[k] as number) - first) * elementBytes;
    const given = Math.fround(value.read(source, k * size) * scale);
    element.write(
      target,
      at,
      form.operation === 'add' ? Math.fround(element.read(target, at) + given) : given,
    );
  }
}
