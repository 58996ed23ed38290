/** Validates messages of data planes strictly: a broken worker must not break its primary. */

import { z } from 'zod';
import type { DataMessage } from './messages.ts';

const count = z.number().int().nonnegative();
const stores = z.enum(['servers', 'nodes']);

const dataMessages: z.ZodType<DataMessage> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('taken') }),
  z.object({ kind: z.literal('in-force'), generation: count }),
  z.object({ kind: z.literal('want'), store: stores, label: z.string(), key: z.string() }),
  z.object({ kind: z.literal('release'), store: stores, key: z.string() }),
  z.object({
    kind: z.literal('renew'),
    id: z.string().max(8192),
    reason: z.enum(['unknown', 'old']),
    question: count,
  }),
]);

/** Returns undefined if it is not a message of a data plane. */
export function readDataMessage(message: unknown): DataMessage | undefined {
  return dataMessages.safeParse(message).data;
}
