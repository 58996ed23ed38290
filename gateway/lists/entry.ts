/** One entry of an address list: `203.0.113.7/32 until=2026-12-01T00:00:00Z # why`. */

import { type Prefix, parsePrefix } from '../core/address.ts';
import { parseInstant } from '../core/instant.ts';

export interface ListEntry {
  readonly prefix: Prefix;
  /** From then on it does not count; milliseconds since the epoch. */
  readonly untilMs?: number;
}

/** The longest prefix, an instant and blanks; what is longer is no entry, and is not searched for one. */
const MAX_CHARACTERS = 256;

/** What ends a comment. */
export const LINE_END = /[\r\n]/;

/** The text without its comment and the blanks around it. A comment ends with its line: what stands behind is not lost in it. */
export function withoutComment(written: string): string {
  const text = written.trim();
  const hash = text.indexOf('#');
  return hash < 0 || LINE_END.test(text.slice(hash)) ? text : text.slice(0, hash).trim();
}

/** Nothing for an empty line or a comment, a sentence for what is no entry. */
export function readEntry(line: string): ListEntry | string | undefined {
  const text = withoutComment(line);
  if (text === '') return undefined;
  if (text.length > MAX_CHARACTERS) return 'a line this long is no prefix';
  const blank = text.search(/\s/);
  const prefix = parsePrefix(blank < 0 ? text : text.slice(0, blank));
  if (typeof prefix === 'string') return prefix;
  if (blank < 0) return { prefix };
  const untilMs = untilOption(text.slice(blank).trim());
  return typeof untilMs === 'string' ? untilMs : { prefix, untilMs };
}

/** The moment of `until=…`, milliseconds since the epoch; a sentence for anything else. */
export function untilOption(option: string): number | string {
  const until = option.startsWith('until=') ? option.slice('until='.length) : undefined;
  if (until === undefined) return `${option} is no option of an entry (until=…)`;
  return parseInstant(until) ?? `${until} is no time (2026-12-01T00:00:00Z)`;
}
