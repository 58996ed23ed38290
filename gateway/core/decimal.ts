/** Whole numbers in fields, paths and claims: decimal digits only. */

/** No sign, leading zero or list; fifteen digits fit a safe integer. */
const DECIMAL = /^(?:0|[1-9][0-9]{0,14})$/;

/** Returns undefined if the text is not a decimal number of at most fifteen digits. */
export function parseDecimal(text: string): number | undefined {
  return DECIMAL.test(text) ? Number(text) : undefined;
}
