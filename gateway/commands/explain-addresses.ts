/** `patchgate explain` for an address: the hops to the client, and each tenant's verdict on it. */

import { objectionTo } from '../checks/allowlist.ts';
import type { Address } from '../core/address.ts';
import { resolveClient } from '../core/forwarded.ts';
import { describeHops, describeMatches, describeTrust } from '../explain/describe-addresses.ts';
import type { ListenerSettings } from '../policy/gateway-settings.ts';
import type { AddressRules, Policy } from '../policy/policy.ts';
import { type OptionValues, optional, UsageError } from './command.ts';
import { addressOption, listenerFor } from './request-from-flags.ts';

type Write = (text: string) => void;

/** Returns whether the tenant given by `--tenant`, or every tenant without it, allows the client. */
export function explainAddresses(policy: Policy, values: OptionValues, write: Write): boolean {
  const given = addressOption(values, 'client-ip');
  const peer = addressOption(values, 'peer');
  if ((given === undefined) === (peer === undefined))
    throw new UsageError('expected either --client-ip or --peer');
  const listener = listenerFor(policy, optional(values, 'listener'));
  const client = given ?? walkFrom(listener, peer as Address, optional(values, 'forwarded'), write);
  return client !== undefined && judge(policy, client, optional(values, 'tenant'), write);
}

/** Prints every hop. Returns the client, or undefined if the forwarding header is malformed. */
function walkFrom(
  { name, trustedProxies: trusted, forwardedHeader: header }: ListenerSettings,
  peer: Address,
  forwarded: string | undefined,
  write: Write,
): Address | undefined {
  write(`listener ${name}, ${header}: ${forwarded ?? 'none'}\n`);
  const lines = forwarded === undefined ? [] : [forwarded];
  const found = resolveClient({ peer, trusted, header, lines });
  if (typeof found === 'string') {
    write(`  ${peer.text.padEnd(24)} the peer, ${describeTrust(trusted, peer)}\n  → 400: ${found}\n`);
    return undefined;
  }
  for (const line of describeHops(trusted, found)) write(`  ${line}\n`);
  return found.address;
}

/** Prints each tenant's verdict. Returns false if any tenant denies; routes are shown, but do not count. */
function judge(policy: Policy, client: Address, only: string | undefined, write: Write): boolean {
  const tenants = [...policy.tenants.values()].filter(({ name }) => only === undefined || name === only);
  if (tenants.length === 0) throw new UsageError(`--tenant: unknown tenant ${only}`);
  let allowed = true;
  for (const tenant of tenants) {
    write(`tenant ${tenant.name}\n`);
    allowed = explainRules(tenant.addresses, client, write, '') && allowed;
    for (const { route } of tenant.routes.entries) {
      if (route.addresses !== undefined)
        explainRules(route.addresses, client, write, `route ${route.name}: `);
    }
  }
  return allowed;
}

/** Prints every match, and the verdict of the same check that requests pass. */
function explainRules(rules: AddressRules, client: Address, write: Write, of: string): boolean {
  for (const line of describeMatches(rules, client)) write(`  ${line}\n`);
  const objection = objectionTo(client, rules);
  const verdict = objection === undefined ? 'allowed' : 'denied: 403 address-denied';
  const why = objection === undefined && rules.allow === undefined ? ' (no allow list)' : '';
  write(`  → ${of}${client.text} is ${verdict}${why}\n`);
  return objection === undefined;
}
