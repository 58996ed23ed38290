/** Lists of revoked certificates: `sha256:…` or `serial:…`, one an entry. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import { STEP, type Steps } from '../core/prefix-columns.ts';
import { withoutComment } from './entry.ts';
import type { ListReader, LiveContents } from './live-list.ts';

export interface RevokedContents extends LiveContents {
  /** Canonical entries, each with where it stands: `file:line`. */
  readonly places: ReadonlyMap<string, string>;
}

/** How an entry names a certificate: by its fingerprint, or by the serial number its authority gave it. */
const ENTRY = /^(?:sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})|serial:([0-9a-f]{1,40}))$/i;
export const REVOKED_ENTRY = 'sha256:… of the DER encoding, or serial:…, in hexadecimal';
/** Fingerprints with colons are the longest. */
const MOST_CHARACTERS = 110;
const MOST_FAULTS = 20;

/** The entry as it is compared; nothing for text that is none. */
export function revokedEntry(text: string): string | undefined {
  const [, fingerprint, serial] = (text.length <= MOST_CHARACTERS && ENTRY.exec(text)) || [];
  if (fingerprint !== undefined) return `sha256:${fingerprint.replaceAll(':', '').toLowerCase()}`;
  return serial && `serial:${serial.toLowerCase().replace(/^0+(?=.)/, '')}`;
}

export const revokedReader: ListReader<RevokedContents> = {
  text: (file, text) => {
    const lines = text.split('\n').map((line, index) => [index + 1, line] as const);
    return readEntries(
      lines,
      (line) => `${file}:${line}`,
      (line, problem, column) => {
        return { ...fileFault(file, problem, REVOKED_ENTRY), line, column };
      },
    );
  },
  keyed: (place, entries) => {
    const placeOf = (key: string): string => `${place} ${key}`;
    return readEntries([...entries], placeOf, (key, problem) =>
      fileFault(placeOf(key), problem, REVOKED_ENTRY),
    );
  },
};

function* readEntries<Key>(
  entries: readonly (readonly [key: Key, text: string])[],
  placeOf: (key: Key) => string,
  faultAt: (key: Key, problem: string, column: number) => PolicyFault,
): Steps<RevokedContents | readonly PolicyFault[]> {
  const places = new Map<string, string>();
  const faults: PolicyFault[] = [];
  for (const [at, [key, written]] of entries.entries()) {
    const text = withoutComment(written);
    const entry = revokedEntry(text);
    if (entry !== undefined) places.set(entry, placeOf(key));
    else if (text !== '' && faults.length < MOST_FAULTS)
      faults.push(
        faultAt(key, `${text.slice(0, MOST_CHARACTERS)} names no certificate`, written.indexOf(text) + 1),
      );
    if (at % STEP === STEP - 1) yield;
  }
  return faults.length > 0 ? faults : { places };
}
