/** Reads the certificates of every server name of a policy, for commands that look before anything runs. */

import type { PolicyFault } from '../policy/fault.ts';
import { asksForClients, type Policy } from '../policy/policy.ts';
import { readIdentity, type ServerIdentity } from './server-identity.ts';

/** One server name's certificates, or what is wrong with them. */
export interface CheckedIdentity {
  readonly serverName: string;
  readonly tenant: string;
  readonly identity?: ServerIdentity;
  readonly faults: readonly PolicyFault[];
}

/** In the order of the policy. */
export async function checkIdentities(policy: Policy, nowMs: number): Promise<readonly CheckedIdentity[]> {
  const checked: CheckedIdentity[] = [];
  for (const [serverName, tenant] of policy.serverNames) {
    const needsClients = asksForClients(policy, tenant);
    const found = await readIdentity(policy.gateway.certificates, serverName, needsClients, nowMs);
    const common = { serverName, tenant: tenant.name };
    checked.push(
      'digest' in found ? { ...common, identity: found, faults: [] } : { ...common, faults: found },
    );
  }
  return checked;
}
