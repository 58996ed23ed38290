/** Copies elements between lists of values and their places in a tensor, with one loop for each width. */

import type { Indices } from './index-encoding.ts';

/** Bytes of an element or word, as frames number them. */
export type ElementSize = 1 | 2 | 4;

/** Memory as elements of one width; unsigned, because only bits are copied. */
export type ElementView = Uint8Array | Uint16Array | Uint32Array;

/** `length` bytes of memory as elements; `from` must be a multiple of the width. */
export function viewOf(
  memory: ArrayBufferLike,
  from: number,
  length: number,
  size: ElementSize,
): ElementView {
  if (size === 4) return new Uint32Array(memory, from, length / 4);
  return size === 2 ? new Uint16Array(memory, from, length / 2) : new Uint8Array(memory, from, length);
}

/** The bytes as elements; a copy if they do not begin at a multiple of the width. */
export function elementsOf(bytes: Buffer, size: ElementSize): ElementView {
  if (bytes.byteOffset % size === 0) return viewOf(bytes.buffer, bytes.byteOffset, bytes.length, size);
  const aligned = Uint8Array.from(bytes);
  return viewOf(aligned.buffer, 0, aligned.length, size);
}

/** `values[from + k] = source[elements[k]]` for the first `count` of them. */
export function gatherElements(
  values: ElementView,
  from: number,
  source: ElementView,
  elements: Uint32Array,
  count: number,
): void {
  if (values instanceof Uint32Array && source instanceof Uint32Array) {
    for (let k = 0; k < count; k++) values[from + k] = source[elements[k] as number] as number;
  } else if (values instanceof Uint16Array && source instanceof Uint16Array) {
    for (let k = 0; k < count; k++) values[from + k] = source[elements[k] as number] as number;
  } else {
    for (let k = 0; k < count; k++) values[from + k] = source[elements[k] as number] as number;
  }
}

/** `target[indices[k] - first] = values[k]` for `k` from `from` up to, not including, `to`. */
export function scatterElements(
  target: ElementView,
  first: number,
  values: ElementView,
  indices: Indices,
  from: number,
  to: number,
): void {
  if (target instanceof Uint32Array && values instanceof Uint32Array) {
    for (let k = from; k < to; k++) target[(indices[k] as number) - first] = values[k] as number;
  } else if (target instanceof Uint16Array && values instanceof Uint16Array) {
    for (let k = from; k < to; k++) target[(indices[k] as number) - first] = values[k] as number;
  } else {
    for (let k = from; k < to; k++) target[(indices[k] as number) - first] = values[k] as number;
  }
}
