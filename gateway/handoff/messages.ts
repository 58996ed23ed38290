/** What the two ends of a handoff say to each other. */

import type { ParcelMessage, PieceMessage } from './parcel.ts';

/** A way to the other end: structured-clone-able messages, in order. */
export interface MessageSink {
  /** May throw when nobody is there any more. */
  send(message: unknown): void;
}

export type StoreName = 'servers' | 'nodes';

export interface AboutList {
  readonly kind: 'list';
  readonly id: string;
  readonly form: string;
  readonly place: string;
  readonly isCurrent: boolean;
  /** `same`: those it had before. */
  readonly has: 'contents' | 'same' | 'nothing';
}

export interface AboutKeys {
  readonly kind: 'keys';
  readonly id: string;
  readonly refreshMs: number;
  readonly keepMs: number;
  /** Since they were fetched; absent where there are none. */
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
  /** The answer to `want`, and what follows when it changes. */
  | { readonly kind: 'identity'; readonly store: StoreName; readonly key: string; readonly found: boolean }
  /** The answer to `renew`. */
  | { readonly kind: 'renewed'; readonly question: number; readonly quietMs: number };

export type DataMessage =
  /** One message was received and done with. */
  | { readonly kind: 'taken' }
  | { readonly kind: 'in-force'; readonly generation: number }
  /** An identity is needed, and followed until it is released. */
  | { readonly kind: 'want'; readonly store: StoreName; readonly label: string; readonly key: string }
  | { readonly kind: 'release'; readonly store: StoreName; readonly key: string }
  /** A token names a key nobody has, or the keys are old. */
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

/** Nothing for what is no message of a control plane. It comes from the primary: no more is doubted. */
export function readParcelMessage(message: unknown): ParcelMessage | PieceMessage | undefined {
  const { kind, id, slices } = membersOf(message);
  const isOne = (kind === 'parcel' || kind === 'piece') && Number.isSafeInteger(id) && Array.isArray(slices);
  return isOne ? (message as ParcelMessage | PieceMessage) : undefined;
}

/** Nothing for what no parcel is about. */
export function readAbout(about: unknown): AboutParcel | undefined {
  return KINDS.has(membersOf(about)['kind']) ? (about as AboutParcel) : undefined;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
