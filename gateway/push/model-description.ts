/** Fetches what a receiver says about a model: its current version, and the versions it has. */

import { z } from 'zod';
import type { GatewayClient } from './gateway-client.ts';
import { isPassingError, isPassingStatus, Persistence, type PersistenceOptions } from './persistence.ts';
import { accepted } from './transfer-error.ts';

const described = z.object({
  version: z.number().int(),
  digest: z.string(),
  parameters: z.number().int(),
  versions: z
    .array(
      z.object({
        version: z.number().int(),
        digest: z.string(),
        /** The version its patch starts from; absent if the patch is not available. */
        base: z.number().int().optional(),
      }),
    )
    .default([]),
});

export type ModelDescription = z.output<typeof described>;

/**
 * Retries after temporary failures. Throws TransferError for a refusal, ZodError for an answer that is not a sync
 * node's, and the connection's error once the retries are used up.
 */
export async function fetchDescription(
  gateway: GatewayClient,
  modelId: string,
  options: PersistenceOptions,
): Promise<ModelDescription> {
  const { signal } = options;
  const persistence = new Persistence(options);
  for (;;) {
    const asked = gateway.send('GET', `/v1/models/${modelId}`, { ...(signal && { signal }) });
    const outcome = await asked.catch((error: unknown) => ({ error }));
    const isPassing = 'error' in outcome ? isPassingError(outcome.error) : isPassingStatus(outcome.status);
    const askedS = 'error' in outcome ? 0 : Number(outcome.headers['retry-after'] ?? 0);
    if (isPassing && (await persistence.again(askedS || 0))) continue;
    if ('error' in outcome) throw outcome.error;
    return described.parse(accepted(outcome).body);
  }
}
