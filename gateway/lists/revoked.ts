/** Lists of revoked certificates or tokens, one per entry, each with an optional expiry. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import { type NameTable, NameTableBuilder } from '../core/name-table.ts';
import { SLICE, type SlicedWork } from '../core/prefix-columns.ts';
import { LINE_END, untilOption } from './entry.ts';
import { EntryPlaces, KeyTextsBuilder, placed } from './entry-places.ts';
import type { ListReader, LiveContents } from './live-list.ts';

export interface RevokedContents extends LiveContents {
  /** Entries in canonical form. */
  readonly names: NameTable;
  /** Returns the place of an entry by its number: `file:line`, or the source and the key. */
  placeOf(number: number): string;
}

/** The contents as read from a source; plain data apart from the methods. */
export interface ReadRevoked extends RevokedContents {
  readonly places: EntryPlaces;
}

/** Returns contents made of entries and their places; `nextEndMs` is Infinity if no entry expires. */
export function revokedOf(names: NameTable, places: EntryPlaces, nextEndMs: number): ReadRevoked {
  return { names, size: names.size, ...placed(places, nextEndMs) };
}

/** Returns a random seed for the hash of a table of names. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/** A certificate by its fingerprint, or by its serial number. */
const CERTIFICATE = /^(?:sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})|serial:([0-9a-f]{1,40}))$/i;
export const REVOKED_CERTIFICATE = 'sha256:… of the DER encoding, or serial:…, in hexadecimal';
/** Tokens by id or by subject; `sha256:` names all that are bound to a certificate, or come with it. */
const TOKEN = /^(?:jti|sub):[^\s"]\S*$/;
/** Names with blanks are JSON strings. */
const QUOTED_TOKEN = /^((?:jti|sub):)("(?:[^"\\]|\\.)*")(?=\s|$)/;
export const REVOKED_TOKEN = 'jti:…, sub:…, sub:"with blanks", or sha256:… of a certificate in hexadecimal';
/** Length of the longest token, and so of every name in one. */
const MAX_CHARACTERS = 8192;
/** Room for the longest name with every character escaped, an option and blanks. */
const MAX_ENTRY_CHARACTERS = 6 * MAX_CHARACTERS + 256;
/** How much of an invalid entry a fault quotes. */
const MAX_SHOWN_CHARACTERS = 600;
const MAX_FAULTS = 20;

/** `#` starts a comment only at the start of the line or after a blank, since ids may contain it. */
const COMMENT = /(?:^|\s)#/;

/** Returns the canonical form of the entry; undefined if the text is not one. */
export function revokedCertificate(text: string): string | undefined {
  const [, fingerprint, serial] = (text.length <= MAX_CHARACTERS && CERTIFICATE.exec(text)) || [];
  if (fingerprint !== undefined) return `sha256:${fingerprint.replaceAll(':', '').toLowerCase()}`;
  return serial && `serial:${serial.toLowerCase().replace(/^0+(?=.)/, '')}`;
}

/** Returns the canonical form of the entry; undefined if the text is not one. */
export function revokedToken(text: string): string | undefined {
  if (text.length > MAX_ENTRY_CHARACTERS) return undefined;
  const [quoted, kind = '', json = ''] = QUOTED_TOKEN.exec(text) ?? [];
  if (quoted === text) return namedBy(kind, json);
  if (TOKEN.test(text)) return text.length > MAX_CHARACTERS ? undefined : text;
  return /^sha256:/i.test(text) ? revokedCertificate(text) : undefined;
}

/** Returns undefined if the text is not JSON, or not a possible name of a token. */
function namedBy(kind: string, json: string): string | undefined {
  try {
    const name = String(JSON.parse(json));
    return name !== '' && name.isWellFormed() && name.length <= MAX_CHARACTERS ? kind + name : undefined;
  } catch {
    return undefined;
  }
}

export const revokedCertificates = revokedReader(revokedCertificate, REVOKED_CERTIFICATE, 'certificate');
export const revokedTokens = revokedReader(revokedToken, REVOKED_TOKEN, 'token');

/** `parse` returns the canonical entry; `what` is the noun for messages. */
function revokedReader(
  parse: (text: string) => string | undefined,
  expected: string,
  what: string,
): ListReader<ReadRevoked> {
  const read = (written: string): Entry | string | undefined => readEntry(written, parse, what);
  return {
    *text(file, text, nowMs) {
      const reading = new Reading(read, nowMs);
      for (const [index, written] of text.split('\n').entries()) {
        const problem = reading.read(written, index + 1);
        if (problem !== undefined) {
          const column = written.length - written.trimStart().length + 1;
          reading.fault({ ...fileFault(file, problem, expected), line: index + 1, column });
        }
        if (index % SLICE === SLICE - 1) yield;
      }
      return yield* reading.finish(new EntryPlaces(file));
    },
    *keyed(place, entries, nowMs) {
      const reading = new Reading(read, nowMs);
      const keys = new KeyTextsBuilder();
      for (const [key, written] of entries) {
        const problem = reading.read(written, keys.count);
        if (problem !== undefined) reading.fault(fileFault(`${place} ${key}`, problem, expected));
        keys.add(key);
        if (keys.count % SLICE === 0) yield;
      }
      return yield* reading.finish(new EntryPlaces(place, yield* keys.build()));
    },
  };
}

interface Entry {
  readonly canonical: string;
  readonly untilMs?: number;
}

/** Strips comment and blanks. A comment with a line end in it stays, so that an entry after it is a fault, not lost. */
function withoutComment(written: string): string {
  const text = written.trim();
  const start = text.search(COMMENT);
  return start < 0 || LINE_END.test(text.slice(start + 1)) ? text : text.slice(0, start).trim();
}

/** Parses an entry. Returns undefined for an empty line or a comment; a string is the error message. */
function readEntry(
  written: string,
  parse: (text: string) => string | undefined,
  what: string,
): Entry | string | undefined {
  const text = written.trim();
  if (text === '' || (text.startsWith('#') && !LINE_END.test(text))) return undefined;
  const end = endOfName(text);
  const name = text.slice(0, end);
  const option = withoutComment(text.slice(end));
  if (name.length + option.length > MAX_ENTRY_CHARACTERS) return `the line is too long for a ${what}`;
  const canonical = parse(name);
  if (canonical === undefined) return `${name.slice(0, MAX_SHOWN_CHARACTERS)} does not name a ${what}`;
  if (option === '') return { canonical };
  const untilMs = untilOption(option);
  return typeof untilMs === 'string' ? untilMs : { canonical, untilMs };
}

function endOfName(text: string): number {
  const [quoted] = QUOTED_TOKEN.exec(text.slice(0, MAX_ENTRY_CHARACTERS)) ?? [];
  if (quoted !== undefined) return quoted.length;
  const blank = text.search(/\s/);
  return blank < 0 ? text.length : blank;
}

/** Collects the entries that have not expired. */
class Reading {
  readonly #read: (written: string) => Entry | string | undefined;
  readonly #nowMs: number;
  readonly #names = new NameTableBuilder(randomSeed());
  readonly #faults: PolicyFault[] = [];
  #nextEndMs = Number.POSITIVE_INFINITY;

  constructor(read: (written: string) => Entry | string | undefined, nowMs: number) {
    this.#read = read;
    this.#nowMs = nowMs;
  }

  /** Adds the entry unless it has expired. Returns an error message if the text is invalid. */
  read(written: string, number: number): string | undefined {
    const entry = this.#read(written);
    if (typeof entry === 'string') return entry;
    const { canonical, untilMs = Number.POSITIVE_INFINITY } = entry ?? {};
    if (canonical === undefined || untilMs <= this.#nowMs) return undefined;
    this.#nextEndMs = Math.min(this.#nextEndMs, untilMs);
    this.#names.add(canonical, number);
    return undefined;
  }

  fault(fault: PolicyFault): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push(fault);
  }

  *finish(places: EntryPlaces): SlicedWork<ReadRevoked | readonly PolicyFault[]> {
    if (this.#faults.length > 0) return this.#faults;
    return revokedOf(yield* this.#names.build(), places, this.#nextEndMs);
  }
}
