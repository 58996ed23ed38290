/** The messages between the two ends of a handoff. */

import type { ParcelMessage, PieceMessage } from './parcel.ts';

/** Sends structured-cloneable messages to the other end, in order. */
export interface MessageSink {
  /** May throw if the other end is gone. */
  send(message: unknown): void;
}

export type StoreName = 'servers' | 'nodes';

export interface AboutList {
  readonly kind: 'list';
  readonly id: string;
  readonly form: string;
  readonly place: string;
  readonly isCurrent: boolean;
  /** `same`: its contents have not changed. */
  readonly has: 'contents' | 'same' | 'nothing';
}

export interface AboutKeys {
  readonly kind: 'keys';
  readonly id: string;
  readonly refreshMs: number;
  readonly keepMs: number;
  /** Time since they were fetched; absent if there are no keys. */
  readonly ageMs?: number | undefined;
  readonly fault?: string | undefined;
}

export type AboutParcel =
  | { readonly kind: 'secret' }
  | AboutList
  | AboutKeys
  | { readonly kind: 'tenant'; readonly name: string; readonly digest: string }
  | { readonly kind: 'policy' }
  | { readonly kind: 'gone'; readonly lists: readonly string[]; readonly keys: readonly string[] }
  /** The answer to `want`; sent again when the identity changes. */
  | { readonly kind: 'identity'; readonly store: StoreName; readonly key: string; readonly found: boolean }
  /** The answer to `renew`. */
  | { readonly kind: 'renewed'; readonly question: number; readonly quietMs: number };

export type DataMessage =
  /** Acknowledges one processed message. */
  | { readonly kind: 'taken' }
  | { readonly kind: 'in-force'; readonly generation: number }
  /** Requests an identity and its changes, until it is released. */
  | { readonly kind: 'want'; readonly store: StoreName; readonly label: string; readonly key: string }
  | { readonly kind: 'release'; readonly store: StoreName; readonly key: string }
  /** Asks for newer keys: a token names an unknown key, or the keys are old. */
  | {
      readonly kind: 'renew';
      readonly id: string;
      readonly reason: 'unknown' | 'old';
      readonly question: number;
    };

const KINDS: ReadonlySet<unknown> = new Set<AboutParcel['kind']>([
  'secret',
  'list',
  'keys',
  'tenant',
  'policy',
  'gone',
  'identity',
  'renewed',
]);

/** Returns undefined if it is not a message of a control plane. Checks no more, since the primary is trusted. */
export function readParcelMessage(message: unknown): ParcelMessage | PieceMessage | undefined {
  const { kind, id, slices } = membersOf(message);
  const isOne = (kind === 'parcel' || kind === 'piece') && Number.isSafeInteger(id) && Array.isArray(slices);
  return isOne ? (message as ParcelMessage | PieceMessage) : undefined;
}

/** Returns undefined if the kind is unknown. */
export function readAbout(about: unknown): AboutParcel | undefined {
  return KINDS.has(membersOf(about)['kind']) ? (about as AboutParcel) : undefined;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
