/** Whole numbers as fields, paths and claims have them: nothing but decimal digits. */

/** No sign, leading zero or list; fifteen digits stay a safe integer. */
const DECIMAL = /^(?:0|[1-9][0-9]{0,14})$/;

/** The number; undefined for any other text. */
export function parseDecimal(text: string): number | undefined {
  return DECIMAL.test(text) ? Number(text) : undefined;
}
