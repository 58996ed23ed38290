/** Client certificates a tenant has revoked by name: for those who have no revocation list, or cannot wait for one. */

import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { VerifiedCertificate } from '../core/facts.ts';
import { fileFault, type PolicyFault } from '../core/fault.ts';
import type { TenantFile } from './tenant-file.ts';
import type { Places } from './yaml-file.ts';

/** How an entry names a certificate: by its fingerprint, or by the serial number its authority gave it. */
const ENTRY = /^(?:sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})|serial:([0-9a-f]{1,40}))$/i;
export const REVOKED_ENTRY = 'sha256:… of the DER encoding, or serial:…, in hexadecimal';

/** Whether a certificate was revoked, and by which line. */
export class RevokedCertificates {
  /** By the canonical entry; the value is `file:line`. */
  readonly #places: ReadonlyMap<string, string>;

  constructor(places: ReadonlyMap<string, string>) {
    this.#places = places;
  }

  /** Why the certificate is refused, for the log. Cost: two look-ups, none while the list is empty. */
  objection({ thumbprint, serialNumber }: VerifiedCertificate): string | undefined {
    if (this.#places.size === 0) return undefined;
    const fingerprint = `sha256:${Buffer.from(thumbprint, 'base64url').toString('hex')}`;
    const place = this.#places.get(fingerprint) ?? this.#places.get(`serial:${serialNumber}`);
    return place === undefined ? undefined : `it was revoked by ${place}`;
  }
}

/** The entry as it is compared; nothing for text that is none. */
export function revokedEntry(text: string): string | undefined {
  const [, fingerprint, serial] = ENTRY.exec(text) ?? [];
  if (fingerprint !== undefined) return `sha256:${fingerprint.replaceAll(':', '').toLowerCase()}`;
  return serial && `serial:${serial.toLowerCase().replace(/^0+(?=.)/, '')}`;
}

/** Entries written in the policy and one a line in a file, `#` comments. The text of the file goes to `onText`. */
export async function readRevokedCertificates(
  places: Places,
  { certificates }: TenantFile['revocation'],
  onText: (text: string) => void,
): Promise<{ readonly certificates: RevokedCertificates; readonly faults: readonly PolicyFault[] }> {
  const path = ['revocation', 'certificates'];
  const found = new Map<string, string>();
  for (const [index, entry] of certificates.entries.entries()) {
    const { file, line } = places.at([...path, 'entries', index], '');
    found.set(entry, `${file}:${line}`);
  }
  const faults: PolicyFault[] = [];
  if (certificates.file !== undefined) {
    const file = resolve(dirname(places.file), certificates.file);
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => error);
    if (text instanceof Error) {
      const problem = `${certificates.file} cannot be read: ${text.code ?? text.message}`;
      faults.push(places.at([...path, 'file'], problem));
    } else {
      onText(text);
      faults.push(...readLines(file, text, found));
    }
  }
  return { certificates: new RevokedCertificates(found), faults };
}

function readLines(file: string, text: string, found: Map<string, string>): readonly PolicyFault[] {
  return text.split(/\r?\n/).flatMap((written, index) => {
    const line = written.replace(/#.*/, '').trim();
    if (line === '') return [];
    const entry = revokedEntry(line);
    if (entry === undefined) {
      const column = written.indexOf(line) + 1;
      return [{ ...fileFault(file, `${line} names no certificate`, REVOKED_ENTRY), line: index + 1, column }];
    }
    found.set(entry, `${file}:${index + 1}`);
    return [];
  });
}
