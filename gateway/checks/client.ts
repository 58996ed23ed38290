/** Step 2: who is calling, behind the trusted proxies? */

import { type Denial, deny } from '../core/denial.ts';
import type { Facts } from '../core/facts.ts';
import { type ClientAddress, resolveClient } from '../core/forwarded.ts';
import { fieldValues } from '../core/headers.ts';
import { listenerOf, type Policy } from '../policy/policy.ts';

/** The client's address. A malformed forwarding header from a trusted proxy is refused with 400. */
export function checkClient(policy: Policy, facts: Facts): ClientAddress | Denial {
  const { peer, proxied, listener } = facts.connection;
  const { trustedProxies: trusted, forwardedHeader: header } = listenerOf(policy, listener);
  const lines = fieldValues(facts.head.fields, header);
  const client = resolveClient({ peer: proxied ?? peer, trusted, header, lines });
  if (typeof client !== 'string' && proxied === undefined) return client;
  if (typeof client !== 'string') return { ...client, hops: [peer, ...client.hops] };
  return deny('client', 'bad-forwarding', `${client}.`);
}
