/** Elements and values as numbers: reading and writing each width, rounded to nearest even where they must be. */

import type { Dtype } from './dtype.ts';
import type { ValueEncoding } from './layout.ts';

/** Reads or writes the element at a byte position of little-endian memory. */
export interface NumberFormat {
  read(bytes: DataView, at: number): number;
  write(bytes: DataView, at: number, value: number): void;
}

const f64: NumberFormat = {
  read: (bytes, at) => bytes.getFloat64(at, true),
  write: (bytes, at, value) => bytes.setFloat64(at, value, true),
};
const f32: NumberFormat = {
  read: (bytes, at) => bytes.getFloat32(at, true),
  write: (bytes, at, value) => bytes.setFloat32(at, value, true),
};
const f16: NumberFormat = {
  read: (bytes, at) => halfToNumber(bytes.getUint16(at, true)),
  write: (bytes, at, value) => bytes.setUint16(at, numberToHalf(value), true),
};
const bf16: NumberFormat = {
  read: (bytes, at) => bitsToFloat(bytes.getUint16(at, true) << 16),
  write: (bytes, at, value) => bytes.setUint16(at, numberToBfloat(value), true),
};
const i8: NumberFormat = {
  read: (bytes, at) => bytes.getInt8(at),
  write: (bytes, at, value) => bytes.setInt8(at, value),
};

/** How the values of a patch are read. */
export const valueFormats: Readonly<Record<ValueEncoding, NumberFormat>> = { f32, f16, bf16, i8 };

/** How the elements of a tensor are read and written; the types without an entry are not numbers to a patch. */
export const elementFormats: Readonly<Partial<Record<Dtype, NumberFormat>>> = {
  F64: f64,
  F32: f32,
  F16: f16,
  BF16: bf16,
  I8: i8,
};

function bitsToFloat(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setInt32(0, bits);
  return view.getFloat32(0);
}

function floatToBits(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint32(0);
}

/** The number a 16-bit half stands for (IEEE 754 binary16). */
export function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (0x400 + fraction) * 2 ** (exponent - 25);
}

/** The nearest half, ties to even; beyond the largest it is infinity. */
export function numberToHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // A unit in the last place: 2^-24 up to 2^-14, above that 2^-10 of the power of two below. 1.5 has 2^0 below
  // it, a unit of 2^-10, hence 1536 units; exponent field 15 stands for 1024 of them, so 15 << 10 | 512.
  const exponent = Math.max(Math.floor(Math.log2(Math.max(size, 2 ** -24))), -14);
  const units = roundToEven(size / 2 ** (exponent - 10));
  // Units at 2048 carry into the exponent field by themselves, as do the largest subnormals at 1024.
  return sign | (((exponent + 14) << 10) + units);
}

/** The nearest bfloat16, ties to even: the upper half of the float32, rounded. */
export function numberToBfloat(value: number): number {
  const bits = floatToBits(value);
  if (Number.isNaN(value)) return 0x7fc0;
  // Half a unit less one, plus the lowest bit kept: 0x3f80_8000 is a tie and stays 0x3f80, 0x3f81_8000 becomes 0x3f82.
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) / 0x1_0000) & 0xffff;
}

function roundToEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 === 0 ? down : down + 1;
}
