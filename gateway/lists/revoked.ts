/** Lists of what is revoked: certificates or tokens, one an entry, perhaps for a time. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import { STEP, type Steps } from '../core/prefix-columns.ts';
import { untilOption } from './entry.ts';
import type { ListReader, LiveContents } from './live-list.ts';

export interface RevokedContents extends LiveContents {
  /** Canonical entries, each with where it stands: `file:line`. */
  readonly places: ReadonlyMap<string, string>;
}

/** How an entry names a certificate: by its fingerprint, or by the serial number its authority gave it. */
const CERTIFICATE = /^(?:sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})|serial:([0-9a-f]{1,40}))$/i;
export const REVOKED_CERTIFICATE = 'sha256:… of the DER encoding, or serial:…, in hexadecimal';
/** How an entry names tokens: one by its id, all of a subject, all that are bound to a certificate. */
const TOKEN = /^(?:jti|sub):\S+$/;
export const REVOKED_TOKEN = 'jti:…, sub:…, or sha256:… of a certificate in hexadecimal';
const MOST_CHARACTERS = 600;
const MOST_FAULTS = 20;

/** A comment begins after a blank, or the line: ids may hold what begins one. */
const COMMENT = /(?:^|\s)#.*$/;

/** The entry as it is compared; nothing for text that is none. */
export function revokedCertificate(text: string): string | undefined {
  const [, fingerprint, serial] = (text.length <= MOST_CHARACTERS && CERTIFICATE.exec(text)) || [];
  if (fingerprint !== undefined) return `sha256:${fingerprint.replaceAll(':', '').toLowerCase()}`;
  return serial && `serial:${serial.toLowerCase().replace(/^0+(?=.)/, '')}`;
}

/** The entry as it is compared; nothing for text that is none. */
export function revokedToken(text: string): string | undefined {
  if (text.length > MOST_CHARACTERS) return undefined;
  if (TOKEN.test(text)) return text;
  return /^sha256:/i.test(text) ? revokedCertificate(text) : undefined;
}

export const revokedCertificates = revokedReader(revokedCertificate, REVOKED_CERTIFICATE, 'certificate');
export const revokedTokens = revokedReader(revokedToken, REVOKED_TOKEN, 'token');

/** `parse` finds the canonical entry; `what` is what an entry names. */
function revokedReader(
  parse: (text: string) => string | undefined,
  expected: string,
  what: string,
): ListReader<RevokedContents> {
  const read = (entry: string): Entry | string => readEntry(entry, parse, what);
  return {
    text: (file, text, nowMs) => {
      const lines = text.split('\n').map((line, index) => [index + 1, line] as const);
      return readEntries(lines, read, nowMs, {
        placeOf: (line) => `${file}:${line}`,
        faultAt: (line, problem, column) => ({ ...fileFault(file, problem, expected), line, column }),
      });
    },
    keyed: (place, entries, nowMs) => {
      const placeOf = (key: string): string => `${place} ${key}`;
      return readEntries([...entries], read, nowMs, {
        placeOf,
        faultAt: (key, problem) => fileFault(placeOf(key), problem, expected),
      });
    },
  };
}

interface Entry {
  readonly canonical: string;
  readonly untilMs?: number;
}

/** A sentence for what is no entry. */
function readEntry(text: string, parse: (text: string) => string | undefined, what: string): Entry | string {
  const blank = text.search(/\s/);
  const name = blank < 0 ? text : text.slice(0, blank);
  const canonical = parse(name);
  if (canonical === undefined) return `${name.slice(0, MOST_CHARACTERS)} names no ${what}`;
  if (blank < 0) return { canonical };
  const untilMs = untilOption(text.slice(blank).trim());
  return typeof untilMs === 'string' ? untilMs : { canonical, untilMs };
}

interface Told<Key> {
  placeOf(key: Key): string;
  faultAt(key: Key, problem: string, column: number): PolicyFault;
}

function* readEntries<Key>(
  entries: readonly (readonly [key: Key, text: string])[],
  read: (text: string) => Entry | string,
  nowMs: number,
  told: Told<Key>,
): Steps<RevokedContents | readonly PolicyFault[]> {
  const reading = new Reading();
  const faults: PolicyFault[] = [];
  for (const [at, [key, written]] of entries.entries()) {
    const text = written.replace(COMMENT, '').trim();
    const entry = text === '' ? undefined : read(text);
    if (typeof entry === 'object') reading.add(entry, nowMs, told.placeOf(key));
    else if (entry !== undefined && faults.length < MOST_FAULTS)
      faults.push(told.faultAt(key, entry, written.indexOf(text) + 1));
    if (at % STEP === STEP - 1) yield;
  }
  return faults.length > 0 ? faults : reading.contents;
}

/** The entries that count, so far. */
class Reading {
  readonly #places = new Map<string, string>();
  #nextEndMs = Number.POSITIVE_INFINITY;

  add({ canonical, untilMs = Number.POSITIVE_INFINITY }: Entry, nowMs: number, place: string): void {
    if (untilMs <= nowMs) return;
    this.#nextEndMs = Math.min(this.#nextEndMs, untilMs);
    this.#places.set(canonical, place);
  }

  get contents(): RevokedContents {
    const nextEndMs = this.#nextEndMs;
    return { places: this.#places, ...(nextEndMs < Number.POSITIVE_INFINITY && { nextEndMs }) };
  }
}
