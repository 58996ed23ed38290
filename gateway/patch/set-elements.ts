/** Changes elements of a tensor that lies in memory, all of it or a stretch. */

import { elementFormats, valueFormats } from './element.ts';
import type { Indices } from './index-encoding.ts';
import { valueSizes } from './layout.ts';
import { elementsOf, scatterElements, viewOf } from './scatter.ts';
import { type ElementForm, isExact, type ValueForm } from './value.ts';

/** The stretch of a tensor that lies in memory. */
export interface Stretch {
  /** Begins at a multiple of 4 of its memory. */
  readonly bytes: Buffer;
  /** The number of its first element. */
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
 * Changes the elements of `indices[from]` up to `indices[to]`, which must lie in the stretch: `set` puts the value,
 * `add` the sum in float32 arithmetic, both rounded to the type of the tensor, nearest and ties to even. Throws
 * TypeError for elements that cannot take such values.
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
  if (element === undefined) throw new TypeError(`${dtype} elements take their bits alone`);
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
