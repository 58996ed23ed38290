/** Finds the client behind trusted proxies: X-Forwarded-For or Forwarded, read from the right. */

import { type Address, parseAddress } from './address.ts';
import { trimBlanks } from './blanks.ts';
import { forwardedNodes } from './forwarded-grammar.ts';
import type { PrefixTree } from './prefix-tree.ts';

/** A client address and the hops before it. */
export interface ClientAddress {
  readonly address: Address;
  /** The trusted proxies between the gateway and the client, the peer first; empty if the peer is the client. */
  readonly hops: readonly Address[];
}

/** What the client is found from. */
export interface ForwardingFacts {
  readonly peer: Address;
  /** Proxies that are believed about the hop before them. */
  readonly trusted: PrefixTree;
  readonly header: 'x-forwarded-for' | 'forwarded';
  /** The values of all lines of that field, in order. */
  readonly lines: readonly string[];
}

const MAX_HOPS = 64;
/** IPv4 or bracketed IPv6, with an optional port; bare IPv6 has none. */
const NODE = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?$/;
/** The port may be hidden (RFC 7239 §6.3). */
const FORWARDED_NODE = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?$/;

/**
 * Walks from the peer towards the client while the hop reached is a trusted proxy. The first that is not is the client,
 * and entries to its left are never read. If all are trusted, the left-most is the client. Returns an error string if a
 * trusted proxy forwarded a malformed field: an entry that is not an address must not be skipped.
 */
export function resolveClient(facts: ForwardingFacts): ClientAddress | string {
  const { peer, trusted, header, lines } = facts;
  if (lines.length === 0 || !trusted.contains(peer)) return { address: peer, hops: [] };
  const nodes = header === 'forwarded' ? forwardedNodes(lines) : lines.join(',').split(',');
  if (typeof nodes === 'string') return nodes;
  return walk(peer, trusted, nodes, header === 'forwarded' ? FORWARDED_NODE : NODE);
}

function walk(
  peer: Address,
  trusted: PrefixTree,
  nodes: readonly string[],
  form: RegExp,
): ClientAddress | string {
  const hops: Address[] = [];
  let address = peer;
  for (let i = nodes.length - 1; i >= 0 && trusted.contains(address); i--) {
    const next = parseNode(trimBlanks(nodes[i] ?? ''), form);
    if (next === undefined) return 'The forwarding header has an entry that is not an address';
    if (hops.length === MAX_HOPS) return `The forwarding header names more than ${MAX_HOPS} proxies`;
    hops.push(address);
    address = next;
  }
  return { address, hops };
}

/** Tries a plain address first: most nodes are one, and no address can be misread as another with a port. */
function parseNode(text: string, form: RegExp): Address | undefined {
  const plain = parseAddress(text);
  if (plain !== undefined) return plain;
  const [, bracketed, dotted, port] = form.exec(text) ?? [];
  if (port !== undefined && Number(port) > 65535) return undefined;
  if (bracketed !== undefined) return bracketed.includes(':') ? parseAddress(bracketed) : undefined;
  return dotted === undefined ? undefined : parseAddress(dotted);
}
