/** One entry of an address list: `203.0.113.7/32 until=2026-12-01T00:00:00Z # why`. */

import { type Prefix, parsePrefix } from '../core/address.ts';
import { parseInstant } from '../core/instant.ts';

export interface ListEntry {
  readonly prefix: Prefix;
  /** When the entry expires, milliseconds since the epoch. */
  readonly untilMs?: number;
}

/** Room for the longest prefix, an option and blanks; a longer line is rejected unparsed. */
const MAX_CHARACTERS = 256;

/** What ends a comment. */
export const LINE_END = /[\r\n]/;

/** Returns the text without its comment and surrounding blanks. A comment that is followed by another line stays, so that no line is lost. */
export function withoutComment(written: string): string {
  const text = written.trim();
  const hash = text.indexOf('#');
  return hash < 0 || LINE_END.test(text.slice(hash)) ? text : text.slice(0, hash).trim();
}

/** Parses a line. Returns undefined for an empty line or a comment; a string is the error message. */
export function readEntry(line: string): ListEntry | string | undefined {
  const text = withoutComment(line);
  if (text === '') return undefined;
  if (text.length > MAX_CHARACTERS) return 'the line is too long for a prefix';
  const blank = text.search(/\s/);
  const prefix = parsePrefix(blank < 0 ? text : text.slice(0, blank));
  if (typeof prefix === 'string') return prefix;
  if (blank < 0) return { prefix };
  const untilMs = untilOption(text.slice(blank).trim());
  return typeof untilMs === 'string' ? untilMs : { prefix, untilMs };
}

/** Parses `until=…` into milliseconds since the epoch; a string is the error message. */
export function untilOption(option: string): number | string {
  const until = option.startsWith('until=') ? option.slice('until='.length) : undefined;
  if (until === undefined) return `unknown option ${option}, expected until=…`;
  return parseInstant(until) ?? `${until} is not a time like 2026-12-01T00:00:00Z`;
}
