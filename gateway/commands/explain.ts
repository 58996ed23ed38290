/** `patchgate explain`: how the client's address is found, hop by hop, and which prefix of which list decides. */

import { objectionTo } from '../checks/allowlist.ts';
import { type Address, parseAddress, prefixAround } from '../core/address.ts';
import { formatFault } from '../core/fault.ts';
import { resolveClient } from '../core/forwarded.ts';
import type { PrefixTree } from '../core/prefix-tree.ts';
import { loadPolicy } from '../policy/load.ts';
import type { AddressList, AddressRules, ListenerSettings, Policy } from '../policy/policy.ts';
import { PolicySources } from '../policy/sources.ts';
import { type Command, type OptionValues, optional, required, UsageError } from './command.ts';

export const explain: Command = {
  name: 'explain',
  summary: 'show who the client is behind its proxies, and which prefix allows or denies it',
  usage:
    '--client-ip ADDRESS | --peer ADDRESS [--forwarded VALUE] [--listener NAME] [--tenant NAME] [--config policies]',
  options: {
    'client-ip': { type: 'string' },
    peer: { type: 'string' },
    forwarded: { type: 'string' },
    listener: { type: 'string' },
    tenant: { type: 'string' },
    config: { type: 'string', default: 'policies' },
  },
  async run(values, terminal) {
    const given = addressOption(values, 'client-ip');
    const peer = addressOption(values, 'peer');
    if ((given === undefined) === (peer === undefined))
      throw new UsageError('either --client-ip or --peer says whom it is about');
    const sources = new PolicySources({ mode: 'follow' });
    try {
      const { policy, faults } = await loadPolicy(required(values, 'config'), Date.now(), { sources });
      await sources.refresh();
      for (const fault of [...faults, ...sources.faults]) terminal.warn(`${formatFault(fault)}\n`);
      if (policy === undefined) return 1;
      const listener = listenerFor(policy, optional(values, 'listener'));
      const walk =
        given ?? walkFrom(listener, peer as Address, optional(values, 'forwarded'), terminal.write);
      if (walk === undefined) return 1;
      return judge(policy, walk, optional(values, 'tenant'), terminal.write) ? 0 : 1;
    } finally {
      sources.close();
    }
  },
};

function addressOption(values: OptionValues, name: string): Address | undefined {
  const text = optional(values, name);
  const address = text === undefined ? undefined : parseAddress(text);
  if (text !== undefined && address === undefined) throw new UsageError(`--${name}: ${text} is no address`);
  return address;
}

function listenerFor({ gateway }: Policy, name: string | undefined): ListenerSettings {
  const listener = gateway.listeners.find((each) => name === undefined || each.name === name);
  if (listener === undefined) throw new UsageError(`there is no listener ${name}`);
  return listener;
}

/** Prints every hop; nothing when the header cannot be read. */
function walkFrom(
  { name, trustedProxies: trusted, forwardedHeader: header }: ListenerSettings,
  peer: Address,
  forwarded: string | undefined,
  write: (text: string) => void,
): Address | undefined {
  write(`listener ${name}, ${header}: ${forwarded ?? 'none'}\n`);
  const lines = forwarded === undefined ? [] : [forwarded];
  const found = resolveClient({ peer, trusted, header, lines });
  if (typeof found === 'string') {
    write(`  ${peer.text.padEnd(24)} the peer, ${trustOf(trusted, peer)}\n  → 400: ${found}\n`);
    return undefined;
  }
  for (const [index, hop] of found.hops.entries()) {
    write(`  ${hop.text.padEnd(24)} ${index === 0 ? 'the peer' : 'forwarded'}, ${trustOf(trusted, hop)}\n`);
  }
  const end = trusted.contains(found.address) ? 'the last there is' : 'no trusted proxy';
  write(
    `  ${found.address.text.padEnd(24)} ${found.hops.length === 0 ? 'the peer' : 'forwarded'}, ${end}: the client\n`,
  );
  return found.address;
}

function trustOf(trusted: PrefixTree, address: Address): string {
  const match = trusted.lookup(address);
  return match === undefined ? 'no trusted proxy' : `trusted by ${prefixAround(address, match.bits).text}`;
}

/** Prints each tenant's verdict; false when any denies. */
function judge(
  policy: Policy,
  client: Address,
  only: string | undefined,
  write: (text: string) => void,
): boolean {
  const tenants = [...policy.tenants.values()].filter(({ name }) => only === undefined || name === only);
  if (tenants.length === 0) throw new UsageError(`there is no tenant ${only}`);
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

/** Prints every match, and the verdict of the check that requests meet. */
function explainRules(
  rules: AddressRules,
  client: Address,
  write: (text: string) => void,
  of: string,
): boolean {
  const { allow, deny = [] } = rules;
  for (const list of deny) for (const line of matchesIn(list, client, 'deny ')) write(`  ${line}\n`);
  for (const list of allow ?? []) for (const line of matchesIn(list, client, 'allow')) write(`  ${line}\n`);
  const objection = objectionTo(client, rules);
  const verdict = objection === undefined ? 'allowed' : 'denied: 403 address-denied';
  const why = objection === undefined && allow === undefined ? ' (no list is asked)' : '';
  write(`  → ${of}${client.text} is ${verdict}${why}\n`);
  return objection === undefined;
}

function matchesIn({ name, parts }: AddressList, client: Address, verdict: string): readonly string[] {
  return parts.flatMap(({ contents, place }) => {
    if (contents === undefined) return [`${verdict}  list ${name} was never read (${place})`];
    const match = contents.tree.lookup(client);
    if (match === undefined) return [];
    return [
      `${verdict}  ${prefixAround(client, match.bits).text} of list ${name} (${contents.placeOf(match.number)})`,
    ];
  });
}
