/** What the two ends of a handoff say to each other. */

import { z } from 'zod';
import type { ParcelMessage, PieceMessage } from './parcel.ts';

/** A way to the other end: structured-clone-able messages, in order. */
export interface Channel {
  /** May throw when nobody is there any more. */
  send(message: unknown): void;
}

const count = z.number().int().nonnegative();
/** A milliseconds' value that may be so far off that it never comes. */
const ms = z.number().nonnegative();
const bytes = z.instanceof(Uint8Array);
const slices = z.array(z.object({ column: count, at: count, bytes }));

const parcelMessages = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('parcel'),
    id: count,
    about: z.unknown(),
    head: z.unknown(),
    columns: z.array(z.object({ type: z.literal([8, 16, 32]), length: count })),
    slices,
  }),
  z.object({ kind: z.literal('piece'), id: count, slices }),
]);

const stores = z.enum(['servers', 'nodes']);
export type StoreName = z.infer<typeof stores>;

const aboutParcel = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('secret') }),
  z.object({
    kind: z.literal('list'),
    id: z.string(),
    form: z.string(),
    place: z.string(),
    isCurrent: z.boolean(),
    /** `same`: those it had before. */
    has: z.enum(['contents', 'same', 'nothing']),
  }),
  z.object({
    kind: z.literal('keys'),
    id: z.string(),
    refreshMs: ms,
    keepMs: ms,
    /** Since they were fetched; absent where there are none. */
    ageMs: ms.optional(),
    fault: z.string().optional(),
  }),
  z.object({ kind: z.literal('tenant'), name: z.string(), digest: z.string() }),
  z.object({ kind: z.literal('policy') }),
  z.object({ kind: z.literal('gone'), lists: z.array(z.string()), keys: z.array(z.string()) }),
  /** The answer to `want`, and what follows when it changes. */
  z.object({ kind: z.literal('identity'), store: stores, key: z.string(), found: z.boolean() }),
  /** The answer to `renew`. */
  z.object({ kind: z.literal('renewed'), question: count, quietMs: ms }),
]);
export type AboutParcel = z.infer<typeof aboutParcel>;
export type AboutList = Extract<AboutParcel, { kind: 'list' }>;
export type AboutKeys = Extract<AboutParcel, { kind: 'keys' }>;

const dataMessages = z.discriminatedUnion('kind', [
  /** One message was received and done with. */
  z.object({ kind: z.literal('taken') }),
  z.object({ kind: z.literal('in-force'), generation: count }),
  /** An identity is needed, and followed until it is released. */
  z.object({ kind: z.literal('want'), store: stores, label: z.string(), key: z.string() }),
  z.object({ kind: z.literal('release'), store: stores, key: z.string() }),
  /** A token names a key nobody has, or the keys are old. */
  z.object({
    kind: z.literal('renew'),
    id: z.string().max(8192),
    reason: z.enum(['unknown', 'old']),
    question: count,
  }),
]);
export type DataMessage = z.infer<typeof dataMessages>;

/** Nothing for what is no message of a control plane. */
export function readParcelMessage(message: unknown): ParcelMessage | PieceMessage | undefined {
  return parcelMessages.safeParse(message).data;
}

/** Nothing for what no parcel is about. */
export function readAbout(about: unknown): AboutParcel | undefined {
  return aboutParcel.safeParse(about).data;
}

/** Nothing for what is no message of a data plane. */
export function readDataMessage(message: unknown): DataMessage | undefined {
  return dataMessages.safeParse(message).data;
}
