/** Lists of what is revoked: certificates or tokens, one an entry, perhaps for a time. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import { type NameTable, NameTableBuilder } from '../core/name-table.ts';
import { SLICE, type SlicedWork } from '../core/prefix-columns.ts';
import { LINE_END, untilOption } from './entry.ts';
import { EntryPlaces, KeyTextsBuilder, placed } from './entry-places.ts';
import type { ListReader, LiveContents } from './live-list.ts';

export interface RevokedContents extends LiveContents {
  /** Canonical entries. */
  readonly names: NameTable;
  /** `file:line` of the entry of that number, or what else says where it stands. */
  placeOf(number: number): string;
}

/** What was read of a source, as plain data but for the methods over it. */
export interface ReadRevoked extends RevokedContents {
  readonly places: EntryPlaces;
}

/** Of entries and where they stand; `nextEndMs` is Infinity where none of them ends. */
export function revokedOf(names: NameTable, places: EntryPlaces, nextEndMs: number): ReadRevoked {
  return { names, size: names.size, ...placed(places, nextEndMs) };
}

/** What the hash of a table of names begins with. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/** How an entry names a certificate: by its fingerprint, or by the serial number its authority gave it. */
const CERTIFICATE = /^(?:sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})|serial:([0-9a-f]{1,40}))$/i;
export const REVOKED_CERTIFICATE = 'sha256:… of the DER encoding, or serial:…, in hexadecimal';
/** How an entry names tokens: one by its id, all of a subject, all that are bound to a certificate. */
const TOKEN = /^(?:jti|sub):[^\s"]\S*$/;
/** Names with blanks in them are written as JSON writes them. */
const QUOTED_TOKEN = /^((?:jti|sub):)("(?:[^"\\]|\\.)*")(?=\s|$)/;
export const REVOKED_TOKEN = 'jti:…, sub:…, sub:"with blanks", or sha256:… of a certificate in hexadecimal';
/** Of the longest token, and so of every name in one. */
const MAX_CHARACTERS = 8192;
/** Of the longest name with every character escaped, an instant and blanks. */
const MAX_ENTRY_CHARACTERS = 6 * MAX_CHARACTERS + 256;
/** Of what is none. */
const MAX_SHOWN_CHARACTERS = 600;
const MAX_FAULTS = 20;

/** A comment begins after a blank, or the line: ids may hold what begins one. */
const COMMENT = /(?:^|\s)#/;

/** The entry as it is compared; nothing for text that is none. */
export function revokedCertificate(text: string): string | undefined {
  const [, fingerprint, serial] = (text.length <= MAX_CHARACTERS && CERTIFICATE.exec(text)) || [];
  if (fingerprint !== undefined) return `sha256:${fingerprint.replaceAll(':', '').toLowerCase()}`;
  return serial && `serial:${serial.toLowerCase().replace(/^0+(?=.)/, '')}`;
}

/** The entry as it is compared; nothing for text that is none. */
export function revokedToken(text: string): string | undefined {
  if (text.length > MAX_ENTRY_CHARACTERS) return undefined;
  const [quoted, kind = '', json = ''] = QUOTED_TOKEN.exec(text) ?? [];
  if (quoted === text) return namedBy(kind, json);
  if (TOKEN.test(text)) return text.length > MAX_CHARACTERS ? undefined : text;
  return /^sha256:/i.test(text) ? revokedCertificate(text) : undefined;
}

/** Nothing for a text that is no JSON, or that no token can be called. */
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

/** `parse` finds the canonical entry; `what` is what an entry names. */
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

/** The text without its comment and the blanks around it. A comment ends with its line: what stands behind is not lost in it. */
function withoutComment(written: string): string {
  const text = written.trim();
  const start = text.search(COMMENT);
  return start < 0 || LINE_END.test(text.slice(start + 1)) ? text : text.slice(0, start).trim();
}

/** Nothing for an empty line or a comment, a sentence for what is no entry. */
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
  if (name.length + option.length > MAX_ENTRY_CHARACTERS) return `a line this long names no ${what}`;
  const canonical = parse(name);
  if (canonical === undefined) return `${name.slice(0, MAX_SHOWN_CHARACTERS)} names no ${what}`;
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

/** The entries that count, so far. */
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

  /** A sentence when the text is no entry. */
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
