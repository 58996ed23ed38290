/** What a patch does to one element: which values an element type can take, and how they are rounded to it. */

import type { Dtype } from './dtype.ts';
import type { Operation, ValueEncoding } from './layout.ts';

/** How the values of a patch are to be understood. */
export interface ValueForm {
  readonly operation: Operation;
  readonly values: ValueEncoding;
  readonly scale: number;
}

/** The value encoding that holds every bit pattern of an element type; the others have none in WPF1. */
export const exactEncodings: Readonly<Partial<Record<Dtype, ValueEncoding>>> = {
  F32: 'f32',
  F16: 'f16',
  BF16: 'bf16',
  I8: 'i8',
};

/** Element types that take every value encoding, rounded where they must be. */
const floats: ReadonlySet<Dtype> = new Set<Dtype>(['F32', 'F16', 'BF16']);

/** Whether elements of this type can take these values. I8 takes whole i8 values alone: set, with scale 1. */
export function carries(dtype: Dtype, form: ValueForm): boolean {
  if (floats.has(dtype)) return true;
  return dtype === 'I8' && form.values === 'i8' && form.operation === 'set' && form.scale === 1;
}

/** Whether applying these values is a copy of their bytes. */
export function isExact(dtype: Dtype, form: ValueForm): boolean {
  return (
    form.operation === 'set' && exactEncodings[dtype] === form.values && (dtype !== 'I8' || form.scale === 1)
  );
}
