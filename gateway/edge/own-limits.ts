/** This process's share of the limits that the current policy sets for the whole gateway. */

import { shareOf } from '../core/share.ts';
import type { GatewayLimits } from '../policy/gateway-settings.ts';
import type { Policy } from '../policy/policy.ts';

/** Returns a function for the current limits; they are divided once for each policy. */
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
