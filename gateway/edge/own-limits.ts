/** What this process may hold of what the whole gateway may: the limits of the policy in force, shared out. */

import { shareOf } from '../core/share.ts';
import type { GatewayLimits } from '../policy/gateway-settings.ts';
import type { Policy } from '../policy/policy.ts';

/** Answers with the limits as they are now; shares them out once a policy. */
export function ownLimits(policy: () => Policy, processes: number): () => GatewayLimits {
  let whole: GatewayLimits | undefined;
  let own: GatewayLimits | undefined;
  return () => {
    const { limits } = policy().gateway;
    if (own !== undefined && limits === whole) return own;
    whole = limits;
    own = {
      ...limits,
      connections: shareOf(limits.connections, processes),
      connectionsPerAddress: shareOf(limits.connectionsPerAddress, processes),
      handshakes: shareOf(limits.handshakes, processes),
      bufferedBytes: shareOf(limits.bufferedBytes, processes),
    };
    return own;
  };
}
