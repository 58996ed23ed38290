/** Client certificates a tenant has revoked by name: for those who have no revocation list, or cannot wait for one. */

import type { VerifiedCertificate } from '../core/facts.ts';
import type { PolicyFault } from '../core/fault.ts';
import type { ListPart } from '../lists/live-list.ts';
import type { RevokedContents } from '../lists/revoked.ts';
import { followSources, type ListServers } from './list-sources.ts';
import type { TenantFile } from './tenant-file.ts';
import type { Places } from './yaml-file.ts';

/** Whether a certificate was revoked, and by which line. */
export class RevokedCertificates {
  readonly parts: readonly ListPart<RevokedContents>[];

  constructor(parts: readonly ListPart<RevokedContents>[]) {
    this.parts = parts;
  }

  /** Why the certificate is refused, for the log; a list that was never read could hold anyone. */
  objection({ thumbprint, serialNumber }: VerifiedCertificate): string | undefined {
    if (this.parts.length === 0) return undefined;
    const fingerprint = `sha256:${Buffer.from(thumbprint, 'base64url').toString('hex')}`;
    for (const { contents, place } of this.parts) {
      if (contents === undefined) return `the list of those revoked was never read (${place})`;
      const found = contents.places.get(fingerprint) ?? contents.places.get(`serial:${serialNumber}`);
      if (found !== undefined) return `it was revoked by ${found}`;
    }
    return undefined;
  }
}

/** Entries written in the policy, and lists in a file, in etcd and in Redis, which are followed. */
export async function readRevokedCertificates(
  places: Places,
  { certificates }: TenantFile['revocation'],
  servers: ListServers,
): Promise<{ readonly certificates: RevokedCertificates; readonly faults: readonly PolicyFault[] }> {
  const path = ['revocation', 'certificates'];
  const written = new Map<string, string>();
  for (const [index, entry] of certificates.entries.entries()) {
    const { file, line } = places.at([...path, 'entries', index], '');
    written.set(entry, `${file}:${line}`);
  }
  const { lists, faults } = await followSources(
    places,
    path,
    certificates,
    servers,
    servers.registry.revoked,
  );
  const parts: ListPart<RevokedContents>[] = [...lists];
  if (written.size > 0) parts.push({ place: places.file, contents: { places: written }, isCurrent: true });
  return { certificates: new RevokedCertificates(parts), faults };
}
