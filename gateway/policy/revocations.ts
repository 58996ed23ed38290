/** Certificates and tokens that a tenant has revoked by name, before they expire. */

import type { VerifiedCertificate } from '../core/facts.ts';
import type { PolicyFault } from '../core/fault.ts';
import { ABSENT, NameTableBuilder } from '../core/name-table.ts';
import { finish } from '../core/prefix-tree.ts';
import type { VerifiedToken } from '../keys/token-memory.ts';
import { EntryPlaces } from '../lists/entry-places.ts';
import type { ListPart, ListReader } from '../lists/live-list.ts';
import {
  type RevokedContents,
  randomSeed,
  revokedCertificates,
  revokedOf,
  revokedTokens,
} from '../lists/revoked.ts';
import { followLists, type ListServers, type WrittenSources } from './list-sources.ts';
import type { Path, Places } from './places.ts';
import type { TenantFile } from './tenant-file.ts';

/** The revoked names, each with the line that revokes it. */
class Revoked {
  readonly parts: readonly ListPart<RevokedContents>[];

  constructor(parts: readonly ListPart<RevokedContents>[]) {
    this.parts = parts;
  }

  /** Returns why something with any of these names is refused, for the log. A list never read revokes everything. */
  protected find(names: readonly string[]): string | undefined {
    for (const { contents, place } of this.parts) {
      if (contents === undefined) return `the list of revoked entries was never read (${place})`;
      for (const name of names) {
        const found = contents.names.find(name);
        if (found !== ABSENT) return `it was revoked by ${contents.placeOf(found)}`;
      }
    }
    return undefined;
  }
}

export class RevokedCertificates extends Revoked {
  objection({ fingerprint, serialNumber }: VerifiedCertificate): string | undefined {
    if (this.parts.length === 0) return undefined;
    return this.find([`sha256:${fingerprint}`, `serial:${serialNumber}`]);
  }
}

export class RevokedTokens extends Revoked {
  /** Looks up the token's id, its subject, the certificate it is bound to, and the one it came with. */
  objection(
    { jti, subject, thumbprint }: VerifiedToken,
    shown: VerifiedCertificate | undefined,
  ): string | undefined {
    if (this.parts.length === 0) return undefined;
    const names = [`sub:${subject}`];
    if (jti !== undefined) names.push(`jti:${jti}`);
    if (shown !== undefined) names.push(`sha256:${shown.fingerprint}`);
    if (thumbprint !== undefined && thumbprint !== shown?.thumbprint)
      names.push(`sha256:${Buffer.from(thumbprint, 'base64url').toString('hex')}`);
    return this.find(names);
  }
}

/** Compiles what a tenant revokes: entries in its policy, and lists in a file, etcd and Redis, which are followed. */
export async function readRevocations(
  places: Places,
  { certificates, tokens }: TenantFile['revocation'],
  servers: ListServers,
): Promise<{
  readonly certificates: RevokedCertificates;
  readonly tokens: RevokedTokens;
  readonly faults: readonly PolicyFault[];
}> {
  const ofCertificates = await readParts(places, 'certificates', certificates, servers, revokedCertificates);
  const ofTokens = await readParts(places, 'tokens', tokens, servers, revokedTokens);
  return {
    certificates: new RevokedCertificates(ofCertificates.parts),
    tokens: new RevokedTokens(ofTokens.parts),
    faults: [...ofCertificates.faults, ...ofTokens.faults],
  };
}

async function readParts(
  places: Places,
  key: 'certificates' | 'tokens',
  written: WrittenSources & { readonly entries: readonly string[] },
  servers: ListServers,
  reader: ListReader<RevokedContents>,
): Promise<{
  readonly parts: readonly ListPart<RevokedContents>[];
  readonly faults: readonly PolicyFault[];
}> {
  const path = ['revocation', key];
  const { lists, faults } = await followLists(places, path, written, servers, reader);
  const parts: ListPart<RevokedContents>[] = [...lists];
  if (written.entries.length > 0) parts.push(writtenPart(places, [...path, 'entries'], written.entries));
  return { parts, faults };
}

/** Numbers entries by the lines they are written on. */
function writtenPart(places: Places, path: Path, entries: readonly string[]): ListPart<RevokedContents> {
  const { file } = places;
  const names = new NameTableBuilder(randomSeed());
  for (const [index, entry] of entries.entries()) names.add(entry, places.at([...path, index], '').line);
  const contents = revokedOf(finish(names.build()), new EntryPlaces(file), Number.POSITIVE_INFINITY);
  return { place: file, contents, isCurrent: true };
}
