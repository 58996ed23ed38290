/** The leaf types of a policy file: text that is parsed into a number, an address or a name. */

import { z } from 'zod';
import { parsePrefix } from '../core/address.ts';
import { parseByteRate, parseDuration, parseRate, parseSize } from '../core/units.ts';

/** Parses text; if `parse` returns undefined, the fault quotes the text, formatted by `told`, and what was expected. */
export function read<T>(
  parse: (text: string) => T | undefined,
  expected: string,
  told: (text: string) => string = String,
) {
  return z.string({ error: expected }).transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.issues.push({
      code: 'custom',
      message: `"${told(text)}" is invalid`,
      params: { expected },
      input: text,
    });
    return z.NEVER;
  });
}

const isBetween = (value: number | undefined, min: number, max: number): value is number =>
  value !== undefined && value >= min && value <= max;

/** A duration in milliseconds; both bounds are inclusive. */
export function duration(minMs: number, maxMs: number) {
  const parse = (text: string): number | undefined => {
    const ms = parseDuration(text);
    return isBetween(ms, minMs, maxMs) ? ms : undefined;
  };
  return read(parse, `a duration like 800ms, 30s, 5m, 1h between ${minMs} and ${maxMs} ms`);
}

/** A size in bytes; both bounds are inclusive. */
export function size(minBytes: number, maxBytes: number) {
  const parse = (text: string): number | undefined => {
    const bytes = parseSize(text);
    return isBetween(bytes, minBytes, maxBytes) ? bytes : undefined;
  };
  return read(parse, `a size like 512B, 64KiB, 2GiB between ${minBytes} and ${maxBytes} bytes`);
}

export const rate = read(parseRate, 'a rate like 100/s, 6000/m, 10/h');

/** Limits are sent to callers as Integers of at most 15 digits (RFC 9651 §3.3.1); a larger one would be ignored. */
const MAX_COUNT = 999_999_999_999_999;

/** Bytes per unit of time. */
export const byteRate = read((text) => {
  const rate = parseByteRate(text);
  return isBetween(rate?.count, 1, MAX_COUNT) ? rate : undefined;
}, 'a rate like 10KiB/s, 20GiB/d of at most 909TiB');

/** A percentage, as a whole number from 1 to 100. */
export const percent = read((text) => {
  const [, digits] = /^([1-9][0-9]?|100)%$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits);
}, 'a share like 50%, from 1% to 100%');

/** A whole number; both bounds are inclusive. */
export function count(min: number, max: number) {
  return z.number().int().min(min).max(max);
}

export const hostPort = read((text) => {
  const [, v6, name, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = v6 ?? name;
  return host === undefined || Number(port) > 65535 ? undefined : { host, port: Number(port) };
}, 'host:port');

/** A CIDR prefix; the address parser words its faults. */
export const prefix = z.string().transform((text, context) => {
  const parsed = parsePrefix(text);
  if (typeof parsed !== 'string') return parsed;
  context.issues.push({ code: 'custom', message: parsed, input: text });
  return z.NEVER;
});

/** Names of routes, lists, upstreams, issuers, listeners and tenants, which become metric labels and log fields. */
export const name = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,62}$/, { error: 'a name of lower-case letters, digits and hyphens' });
