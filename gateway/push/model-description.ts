/** What a receiver says of a model: its version, and the versions there are. */

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
        /** The patch that made it starts there; absent where there is none to have. */
        base: z.number().int().optional(),
      }),
    )
    .default([]),
});

export type ModelDescription = z.output<typeof described>;

/**
 * Tries again what may be well in a moment. Throws TransferError for a refusal, ZodError for an answer that is none of a
 * sync node, and the connection's error once patience is at its end.
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
