/** Durations, sizes, rates and shares as written in a policy, in one form each. */

/** Bytes in a mebibyte. */
export const MIB = 2 ** 20;

const DURATION_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

const SIZE_BYTES: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['KiB', 2 ** 10],
  ['MiB', MIB],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
]);

/** `800ms`, `30s`, `5m`, `1h`, `1d` in milliseconds; undefined for any other text. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, DURATION_MS);
}

/** `512B`, `64KiB`, `2GiB` in bytes; undefined for any other text. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, SIZE_BYTES);
}

/** At most `count` in `perMs` milliseconds. */
export interface Rate {
  readonly count: number;
  readonly perMs: number;
}

/** `100/s`, `6000/m`, `10/h`, `5/d`; undefined for any other text, and for a count of 0. */
export function parseRate(text: string): Rate | undefined {
  const [, digits, unit] = /^([1-9][0-9]{0,14})\/([smhd])$/.exec(text) ?? [];
  const perMs = DURATION_MS.get(unit ?? '');
  return perMs === undefined ? undefined : { count: Number(digits), perMs };
}

/** `10KiB/s`, `20GiB/d` as a rate in bytes; undefined for any other text, and for 0 bytes. */
export function parseByteRate(text: string): Rate | undefined {
  const [, size = '', unit = ''] = /^([^/]+)\/([smhd])$/.exec(text) ?? [];
  const count = parseSize(size);
  const perMs = DURATION_MS.get(unit);
  return count === undefined || count === 0 || perMs === undefined ? undefined : { count, perMs };
}

/** `10%` or `0.5%` as a share of 1; undefined for any other text, for 0% and for more than 100%. */
export function parseShare(text: string): number | undefined {
  const [, digits] = /^((?:0|[1-9][0-9]{0,2})(?:\.[0-9]{1,6})?)%$/.exec(text) ?? [];
  const share = Number(digits) / 100;
  return share > 0 && share <= 1 ? share : undefined;
}

function parseQuantity(text: string, units: ReadonlyMap<string, number>): number | undefined {
  const [, digits, unit] = /^(0|[1-9][0-9]{0,14})([A-Za-z]+)$/.exec(text) ?? [];
  const factor = units.get(unit ?? '');
  if (factor === undefined) return undefined;
  const value = Number(digits) * factor;
  return Number.isSafeInteger(value) ? value : undefined;
}
