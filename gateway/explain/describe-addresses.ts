/** Describes which prefixes of which lists match an address, and the hops that led to it. */

import { type Address, prefixAround } from '../core/address.ts';
import type { ClientAddress } from '../core/forwarded.ts';
import type { PrefixTree } from '../core/prefix-tree.ts';
import type { AddressList, AddressRules } from '../policy/policy.ts';

/** Returns every match of the rules, as `allow  203.0.113.0/24 of list offices (file:line)`. */
export function describeMatches({ allow = [], deny = [] }: AddressRules, address: Address): string[] {
  return [
    ...deny.flatMap((list) => matchesIn(list, address, 'deny ')),
    ...allow.flatMap((list) => matchesIn(list, address, 'allow')),
  ];
}

function matchesIn({ name, parts }: AddressList, address: Address, verdict: string): readonly string[] {
  return parts.flatMap(({ contents, place }) => {
    if (contents === undefined) return [`${verdict}  list ${name} was never read (${place})`];
    const match = contents.tree.lookup(address);
    if (match === undefined) return [];
    const { text } = prefixAround(address, match.bits);
    return [`${verdict}  ${text} of list ${name} (${contents.placeOf(match.number)})`];
  });
}

/** Returns one line per hop, the peer first and the client last. */
export function describeHops(trusted: PrefixTree, { address, hops }: ClientAddress): readonly string[] {
  const lines = hops.map((hop, index) => {
    return `${hop.text.padEnd(24)} ${index === 0 ? 'the peer' : 'forwarded'}, ${describeTrust(trusted, hop)}`;
  });
  const end = trusted.contains(address) ? 'trusted, but the last hop' : 'not a trusted proxy';
  const how = hops.length === 0 ? 'the peer' : 'forwarded';
  return [...lines, `${address.text.padEnd(24)} ${how}, ${end}: the client`];
}

export function describeTrust(trusted: PrefixTree, address: Address): string {
  const match = trusted.lookup(address);
  return match === undefined ? 'not a trusted proxy' : `trusted by ${prefixAround(address, match.bits).text}`;
}
