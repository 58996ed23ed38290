/** Which patch values an element type can take, and which of them are its bits unchanged. */

import { type Dtype, dtypeBits } from './dtype.ts';
import type { Operation, ValueEncoding } from './layout.ts';

/** How to interpret the values of a patch. */
export interface ValueForm {
  readonly operation: Operation;
  readonly values: ValueEncoding;
  readonly scale: number;
}

/** What frames number: elements of a type, or words of them. */
export interface ElementForm {
  readonly dtype: Dtype;
  /** Whether frames number words of this type, not its elements (see `wordBytesOf`). */
  readonly words?: boolean;
}

/**
 * The value encoding that carries the bits of an element, or of one of its words, unchanged. It reads them as numbers
 * only for the four types with an encoding of their own; for all others it is just a width.
 */
export const exactEncodings = {
  F32: 'f32',
  F16: 'f16',
  BF16: 'bf16',
  I8: 'i8',
  F64: 'f32',
  U8: 'i8',
  I16: 'f16',
  U16: 'f16',
  I32: 'f32',
  U32: 'f32',
  I64: 'f32',
  U64: 'f32',
  BOOL: 'i8',
  F8_E4M3: 'i8',
  F8_E5M2: 'i8',
  F8_E8M0: 'i8',
  F6_E2M3: 'i8',
  F6_E3M2: 'i8',
  F4: 'i8',
  C64: 'f32',
} as const satisfies Record<Dtype, ValueEncoding>;

/**
 * Bytes of the words that elements of this type are patched in: 4 for 64-bit types, 1 for types that end inside a byte;
 * undefined for types that are patched element by element.
 */
export function wordBytesOf(dtype: Dtype): 1 | 4 | undefined {
  const bits = dtypeBits[dtype];
  if (bits === 64) return 4;
  return bits < 8 ? 1 : undefined;
}

/** Element types that take every value encoding, with rounding where it is needed. */
const floats: ReadonlySet<Dtype> = new Set<Dtype>(['F32', 'F16', 'BF16']);

/** Whether these elements can take these values: all but the three floats take only their own bits, with `set`. */
export function carries(element: ElementForm, form: ValueForm): boolean {
  return floats.has(element.dtype) || isExact(element, form);
}

/** Whether applying these values just copies their bytes. */
export function isExact({ dtype, words = false }: ElementForm, form: ValueForm): boolean {
  return (
    form.operation === 'set' &&
    exactEncodings[dtype] === form.values &&
    (form.values !== 'i8' || form.scale === 1) &&
    words === (wordBytesOf(dtype) !== undefined)
  );
}
