/** What a receiver says of a model: its version, and the versions there are. */

import { z } from 'zod';
import type { GatewayClient } from './gateway-client.ts';
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

/** Throws TransferError for a refusal, ZodError for an answer that is none of a sync node. */
export async function describeModel(
  gateway: GatewayClient,
  modelId: string,
  signal: AbortSignal | undefined,
): Promise<ModelDescription> {
  const answer = await gateway.send('GET', `/v1/models/${modelId}`, { ...(signal && { signal }) });
  return described.parse(accepted(answer).body);
}
