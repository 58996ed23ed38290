/** Decides which values may be written to which elements: no NaN, no infinity, none above a limit. */

import type { Dtype } from './dtype.ts';
import { elementFormats, type FloatForm, magnitudeOf } from './element.ts';
import { type LaneLimit, laneLimit, type SignForm } from './lanes.ts';
import type { ValueEncoding } from './layout.ts';
import type { ElementSize } from './scatter.ts';
import { type ElementForm, isExact, type ValueForm } from './value.ts';

/** How values of one kind are compared with a limit. Larger magnitudes have larger bits, if the sign is left out. */
interface NumberKind {
  readonly size: ElementSize;
  readonly sign: SignForm;
  /** The bits of the largest number; larger bits are infinity, NaN, or do not occur. */
  readonly largest: number;
  /** The magnitude that bits without a sign stand for. */
  numberOf(bits: number): number;
}

function float(size: ElementSize, form: FloatForm, largest: number): NumberKind {
  return { size, sign: 'sign-bit', largest, numberOf: (bits) => magnitudeOf(form, bits) };
}

function unsigned(size: ElementSize, largest = 2 ** (8 * size) - 1): NumberKind {
  return { size, sign: 'unsigned', largest, numberOf: (bits) => bits };
}

function signed(size: ElementSize): NumberKind {
  return { size, sign: 'twos-complement', largest: 2 ** (8 * size - 1), numberOf: (bits) => bits };
}

const f32 = float(4, { exponentBits: 8, fractionBits: 23 }, 0x7f7f_ffff);
const f16 = float(2, { exponentBits: 5, fractionBits: 10 }, 0x7bff);
const bf16 = float(2, { exponentBits: 8, fractionBits: 7 }, 0x7f7f);

/** Values that are numbers in their own encoding; i8 values before they are scaled. */
const kindOfValues: Readonly<Record<ValueEncoding, NumberKind>> = { f32, f16, bf16, i8: signed(1) };

/**
 * Values that are the bits of an element. 8-bit floats are those of OCP OFP8 (E4M3 has no infinity and one NaN) and OCP
 * MX (E8M0 has no sign). Types without an entry are patched in words, which are not numbers by themselves.
 */
const kindOfElements: Readonly<Partial<Record<Dtype, NumberKind>>> = {
  F32: f32,
  F16: f16,
  BF16: bf16,
  C64: f32,
  F8_E4M3: float(1, { exponentBits: 4, fractionBits: 3 }, 0x7e),
  F8_E5M2: float(1, { exponentBits: 5, fractionBits: 2 }, 0x7b),
  F8_E8M0: { size: 1, sign: 'unsigned', largest: 0xfe, numberOf: (bits) => 2 ** (bits - 127) },
  BOOL: unsigned(1, 1),
  U8: unsigned(1),
  U16: unsigned(2),
  U32: unsigned(4),
  I8: signed(1),
  I16: signed(2),
  I32: signed(4),
};

/** What the values of a patch are compared with. */
export interface ValueJudge {
  readonly limit: LaneLimit;
  /** Says what is wrong with a value above the limit: not a number of its type, or too large. */
  wrongWith(bits: number): string;
}

/** Every value passes, since any bits are a number and no limit was set. */
export const ANY_VALUE = Symbol('any value');

/**
 * Returns how to judge the values of a patch of these elements. They are judged as they will be stored, rounded to the
 * type of the tensor. A string is an error message for the sender: such values cannot be judged as they stream through.
 */
export function judgeValues(
  element: ElementForm,
  form: ValueForm,
  maxAbs = Number.POSITIVE_INFINITY,
): ValueJudge | typeof ANY_VALUE | string {
  const exact = isExact(element, form);
  const kind = exact ? kindOfElements[element.dtype] : kindOfValues[form.values];
  if (kind === undefined) {
    if (element.dtype === 'F64') return 'F64 values come in halves, which cannot be judged one by one';
    return maxAbs === Number.POSITIVE_INFINITY
      ? ANY_VALUE
      : `${element.dtype} values come in parts, which cannot be compared with a largest value`;
  }
  const scale = !exact && form.values === 'i8' ? Math.abs(form.scale) : 1;
  const given = (bits: number) =>
    scale === 1 ? kind.numberOf(bits) : Math.fround(kind.numberOf(bits) * scale);
  const stored = (bits: number) => storedAs(element.dtype, given(bits), exact);
  const passes = (bits: number) => stored(bits) <= Math.min(maxAbs, Number.MAX_VALUE);
  const largest = lastThat(passes, kind.largest);
  return {
    limit: laneLimit(kind.size, kind.sign, largest),
    wrongWith: (bits) =>
      bits <= kind.largest && Number.isFinite(stored(bits))
        ? `is above ${maxAbs}`
        : `is not a finite ${element.dtype} number`,
  };
}

/** The largest bits from 0 to `end` that pass, by binary search; 0 always passes. */
function lastThat(passes: (bits: number) => boolean, end: number): number {
  let good = 0;
  let bad = end + 1;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (passes(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/** The number as an element of that type stores it. */
function storedAs(dtype: Dtype, value: number, exact: boolean): number {
  const format = elementFormats[dtype];
  if (exact || format === undefined) return value;
  const bytes = new DataView(new ArrayBuffer(4));
  format.write(bytes, 0, value);
  return format.read(bytes, 0);
}
