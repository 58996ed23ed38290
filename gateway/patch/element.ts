/** Reads and writes elements and values as numbers, rounding to nearest, ties to even, where a format is narrower. */

import type { Dtype } from './dtype.ts';
import type { ValueEncoding } from './layout.ts';

/** Reads or writes the element at a byte position of little-endian memory. */
export interface NumberFormat {
  read(bytes: DataView, at: number): number;
  write(bytes: DataView, at: number, value: number): void;
}

const QUIET_NAN = 0x7fc0_0000;
const f32: NumberFormat = {
  read: (bytes, at) => bytes.getFloat32(at, true),
  // ECMA-262 §6.1.6.1 leaves the bits of a NaN to the implementation: x86 computes a negative one, ARM does not.
  write: (bytes, at, value) =>
    Number.isNaN(value) ? bytes.setUint32(at, QUIET_NAN, true) : bytes.setFloat32(at, value, true),
};
const f16 = smallFloat({ exponentBits: 5, fractionBits: 10 });
const bf16 = smallFloat({ exponentBits: 8, fractionBits: 7 });
const i8: NumberFormat = {
  read: (bytes, at) => bytes.getInt8(at),
  write: (bytes, at, value) => bytes.setInt8(at, value),
};

/** The number formats of patch values. */
export const valueFormats: Readonly<Record<ValueEncoding, NumberFormat>> = { f32, f16, bf16, i8 };

/** The number formats of tensor elements. To a patch, elements of types without an entry are bits, not numbers. */
export const elementFormats: Readonly<Partial<Record<Dtype, NumberFormat>>> = {
  F32: f32,
  F16: f16,
  BF16: bf16,
  I8: i8,
};

/** A binary floating-point format: from the top, one sign bit, the exponent and the fraction. */
export interface FloatForm {
  readonly exponentBits: number;
  readonly fractionBits: number;
}

function smallFloat(form: FloatForm): NumberFormat {
  return {
    read: (bytes, at) => toNumber(form, bytes.getUint16(at, true)),
    write: (bytes, at, value) => bytes.setUint16(at, fromNumber(form, value), true),
  };
}

/** The smallest exponent of a normal number: -14 for binary16. */
function leastExponent({ exponentBits }: FloatForm): number {
  return 2 - 2 ** (exponentBits - 1);
}

/** The bits of infinity: the exponent all ones, the fraction zero; 0x7c00 in binary16. */
function infinity({ exponentBits, fractionBits }: FloatForm): number {
  return (2 ** exponentBits - 1) << fractionBits;
}

function toNumber(form: FloatForm, bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const size = bits & 0x7fff;
  if (size >= infinity(form)) return size > infinity(form) ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * magnitudeOf(form, size);
}

/** The number that bits without a sign stand for, also if the exponent is all ones. In binary16, 0x3e00 is 1.5. */
export function magnitudeOf(form: FloatForm, bits: number): number {
  const one = 2 ** form.fractionBits;
  const exponent = Math.floor(bits / one);
  const fraction = bits % one;
  const units = exponent === 0 ? fraction : one + fraction;
  return units * 2 ** (leastExponent(form) - form.fractionBits + Math.max(exponent - 1, 0));
}

/** Rounds to nearest, ties to even; overflow gives infinity, and NaN the quiet one without sign or payload. */
function fromNumber(form: FloatForm, value: number): number {
  const top = infinity(form);
  if (Number.isNaN(value)) return top | (1 << (form.fractionBits - 1));
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === Number.POSITIVE_INFINITY) return sign | top;
  const least = leastExponent(form);
  const exponent = Math.max(Math.floor(Math.log2(size)), least);
  const units = roundToEven(size / 2 ** (exponent - form.fractionBits));
  // `units` includes the leading one of a normal number, which adds 1 to the exponent field. In binary16, 1.5 is 1536
  // units of 2^-10 with an exponent 14 above the least: (14 << 10) + 1536 = 0x3e00.
  return sign | Math.min((exponent - least) * 2 ** form.fractionBits + units, top);
}

function roundToEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 === 0 ? down : down + 1;
}
