/** The element types of safetensors: their widths, and the byte that stands for each in a TENSOR frame. */

/** Bits of one element, by the name safetensors gives the type. */
export const dtypeBits = {
  F32: 32,
  F16: 16,
  BF16: 16,
  I8: 8,
  F64: 64,
  U8: 8,
  I16: 16,
  U16: 16,
  I32: 32,
  U32: 32,
  I64: 64,
  U64: 64,
  BOOL: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
  C64: 64,
} as const satisfies Record<string, number>;

export type Dtype = keyof typeof dtypeBits;

/** The dtype byte of a TENSOR frame is the position in this list; the first four agree with the value codes. */
export const dtypes = Object.keys(dtypeBits) as readonly Dtype[];

export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(dtypeBits, name);
}

/** Bytes of `elements` elements; undefined when they end inside a byte (F4 and F6) or exceed 2^53-1. */
export function byteLengthOf(dtype: Dtype, elements: number): number | undefined {
  const bytes = (elements * dtypeBits[dtype]) / 8;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The product of the dimensions (1 for a scalar); undefined above 2^53-1. */
export function elementCountOf(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const size of shape) count *= size;
  return Number.isSafeInteger(count) ? count : undefined;
}
