/** Packs identities into parcels. The sender has checked them; they are not checked again on arrival. */

import { X509Certificate } from 'node:crypto';
import type { CertifiedKey } from '../certificates/certificate-files.ts';
import { ClientAuthorities, type ClientAuthority } from '../certificates/client-authorities.ts';
import type { NodeIdentity } from '../certificates/node-identity.ts';
import type { ServerIdentity } from '../certificates/server-identity.ts';
import { NAMES_COLUMNS, type NamesHead, packNames, unpackNames } from './list-forms.ts';
import type { Column, Parcel } from './parcel.ts';

/** The leaf is the first certificate of the chain. */
type KeyHead = Omit<CertifiedKey, 'leaf'>;

interface AuthorityHead {
  readonly pem: string;
  readonly list?: NamesHead & { readonly thisUpdateMs: number; readonly nextUpdateMs?: number };
}

interface ServerHead extends Omit<ServerIdentity, 'keys' | 'clients'> {
  readonly keys: readonly KeyHead[];
  readonly clients?: { readonly authorities: readonly AuthorityHead[]; readonly looksUp: boolean };
}

interface NodeHead extends Omit<NodeIdentity, 'authorities' | 'key'> {
  /** PEM. */
  readonly authorities?: readonly string[];
  readonly key?: KeyHead;
}

export function packServerIdentity({ keys, clients, ...more }: ServerIdentity): Parcel {
  const columns: Column[] = [];
  const authorities = clients?.authorities.map((each) => packAuthority(each, columns));
  const head: ServerHead = {
    ...more,
    keys: keys.map(packKey),
    ...(clients !== undefined && { clients: { authorities: authorities ?? [], looksUp: clients.looksUp } }),
  };
  return { head, columns };
}

/** Throws if the parcel is not a server identity. */
export function unpackServerIdentity({ head, columns }: Parcel): ServerIdentity {
  const { keys, clients, ...more } = head as ServerHead;
  let next = 0;
  const authorities = clients?.authorities.map(({ pem, list }): ClientAuthority => {
    const certificate = new X509Certificate(pem);
    if (list === undefined) return { certificate };
    const { size, seed, ...times } = list;
    const serials = unpackNames({ size, seed }, columns.slice(next, next + NAMES_COLUMNS));
    next += NAMES_COLUMNS;
    return { certificate, list: { ...times, serials } };
  });
  return {
    ...more,
    keys: keys.map(unpackKey),
    ...(clients !== undefined && { clients: new ClientAuthorities(authorities ?? [], clients.looksUp) }),
  };
}

export function packNodeIdentity({ authorities, key, ...more }: NodeIdentity): Parcel {
  const head: NodeHead = {
    ...more,
    ...(authorities !== undefined && { authorities: authorities.map((each) => each.toString()) }),
    ...(key !== undefined && { key: packKey(key) }),
  };
  return { head, columns: [] };
}

/** Throws if the parcel is not a node identity. */
export function unpackNodeIdentity({ head }: Parcel): NodeIdentity {
  const { authorities, key, ...more } = head as NodeHead;
  return {
    ...more,
    ...(authorities !== undefined && { authorities: authorities.map((pem) => new X509Certificate(pem)) }),
    ...(key !== undefined && { key: unpackKey(key) }),
  };
}

function packKey({ chainPem, keyPem, keyType, notAfterMs }: CertifiedKey): KeyHead {
  return { chainPem, keyPem, keyType, notAfterMs };
}

function unpackKey(head: KeyHead): CertifiedKey {
  return { ...head, leaf: new X509Certificate(head.chainPem) };
}

function packAuthority({ certificate, list }: ClientAuthority, columns: Column[]): AuthorityHead {
  const pem = certificate.toString();
  if (list === undefined) return { pem };
  const { thisUpdateMs, nextUpdateMs, serials } = list;
  const times = { thisUpdateMs, ...(nextUpdateMs !== undefined && { nextUpdateMs }) };
  return { pem, list: { ...times, ...packNames(serials, columns) } };
}
