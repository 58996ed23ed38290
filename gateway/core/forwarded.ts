/** Finds out who is calling behind trusted proxies: X-Forwarded-For or Forwarded, read from the right. */

import { type Address, parseAddress } from './address.ts';
import { trimBlanks } from './blanks.ts';
import { forwardedNodes } from './forwarded-grammar.ts';
import type { PrefixTree } from './prefix-tree.ts';

/** A client address with the way it was found. */
export interface ClientAddress {
  readonly address: Address;
  /** The trusted proxies between us and the client, the peer first; empty when the peer is the client. */
  readonly hops: readonly Address[];
}

/** What there is to find the client with. */
export interface ForwardingFacts {
  readonly peer: Address;
  /** Whose word about the hop before is believed. */
  readonly trusted: PrefixTree;
  readonly header: 'x-forwarded-for' | 'forwarded';
  /** The values of all lines of that field, in order. */
  readonly lines: readonly string[];
}

const MAX_HOPS = 64;
/** IPv4 or bracketed IPv6, perhaps with a port; bare IPv6 is read without one. */
const NODE = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?$/;
/** The port may be hidden (RFC 7239 §6.3). */
const FORWARDED_NODE = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?$/;

/**
 * Walks from the peer towards the client as long as the hop reached is a trusted proxy; the first that is not is the
 * client, and what stands left of it is never looked at. All trusted: the left-most one. The answer is a sentence when
 * a trusted proxy forwarded what cannot be read: an entry that is no address must not be skipped or passed by.
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
    if (next === undefined) return 'The forwarding header holds an entry that is not an address';
    if (hops.length === MAX_HOPS) return `The forwarding header names more than ${MAX_HOPS} proxies`;
    hops.push(address);
    address = next;
  }
  return { address, hops };
}

/** Most nodes are an address and nothing else, and no address reads as another with a port. */
function parseNode(text: string, form: RegExp): Address | undefined {
  const plain = parseAddress(text);
  if (plain !== undefined) return plain;
  const [, bracketed, dotted, port] = form.exec(text) ?? [];
  if (port !== undefined && Number(port) > 65535) return undefined;
  if (bracketed !== undefined) return bracketed.includes(':') ? parseAddress(bracketed) : undefined;
  return dotted === undefined ? undefined : parseAddress(dotted);
}
