/** Who is really calling: the walk over the hops that proxies have written down, from the peer backwards. */

import { type Address, parseAddress } from './address.ts';
import type { PrefixTree } from './prefix-tree.ts';

/** The client, and the hops believed on the way to it: the peer first, the client last. */
export interface ClientAddress {
  readonly address: Address;
  readonly hops: readonly Address[];
}

export interface ForwardingFacts {
  readonly peer: Address;
  readonly trusted: PrefixTree<true>;
  readonly header: 'x-forwarded-for' | 'forwarded';
  /** The values of every line of that header, in order. */
  readonly lines: readonly string[];
}

const MAX_HOPS = 64;

/**
 * Right to left: each hop is believed because the one behind it is a trusted proxy; the first that is not trusted
 * is the client, and what stands left of it is hearsay. All trusted: the left-most. An entry that is reached and
 * is no address is a fault, since the gateway would otherwise decide about the wrong caller.
 */
export function resolveClient({ peer, trusted, header, lines }: ForwardingFacts): ClientAddress | string {
  if (!trusted.contains(peer)) return { address: peer, hops: [peer] };
  const entries = header === 'forwarded' ? forwardedFor(lines) : listEntries(lines);
  if (typeof entries === 'string') return entries;
  if (entries.length > MAX_HOPS) return `more than ${MAX_HOPS} hops`;
  const hops = [peer];
  let client = peer;
  for (const entry of entries.reverse()) {
    const address = parseHop(entry);
    if (address === undefined) return 'an entry is no address';
    hops.push(address);
    client = address;
    if (!trusted.contains(address)) break;
  }
  return { address: client, hops };
}

/** The entries of `X-Forwarded-For`; several lines are one list (RFC 9110 §5.3). */
function listEntries(lines: readonly string[]): string[] {
  return lines.length === 0
    ? []
    : lines
        .join(',')
        .split(',')
        .map((entry) => entry.trim());
}

/** An address, perhaps with a port: `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5`. */
function parseHop(entry: string): Address | undefined {
  const bracketed = /^\[([0-9a-fA-F:.]+)\](?::[0-9]{1,5})?$/.exec(entry);
  if (bracketed !== null) return bracketed[1]?.includes(':') ? parseAddress(bracketed[1]) : undefined;
  const ported = /^([0-9.]+):[0-9]{1,5}$/.exec(entry);
  return parseAddress(ported?.[1] ?? entry);
}

/** The `for` parameters of `Forwarded`, one an element (RFC 7239 §4), or what is wrong with the field. */
function forwardedFor(lines: readonly string[]): string[] | string {
  const entries: string[] = [];
  for (const line of lines) {
    const elements = new ForwardedLine(line).elements();
    if (elements === undefined) return 'Forwarded does not follow RFC 7239';
    for (const pairs of elements) entries.push(pairs.get('for') ?? '');
  }
  return entries;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"/y;
const SPACE = /[ \t]*/y;

/** A reader of one line by the grammar of RFC 7239 §4: elements by comma, pairs by semicolon. */
class ForwardedLine {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  elements(): ReadonlyMap<string, string>[] | undefined {
    const elements: ReadonlyMap<string, string>[] = [];
    do {
      this.#take(SPACE);
      const pairs = this.#pairs();
      if (pairs === undefined) return undefined;
      elements.push(pairs);
      this.#take(SPACE);
    } while (this.#skip(','));
    return this.#at === this.#text.length ? elements : undefined;
  }

  #pairs(): ReadonlyMap<string, string> | undefined {
    const pairs = new Map<string, string>();
    do {
      const name = this.#take(TOKEN)?.[0].toLowerCase();
      if (name === undefined || pairs.has(name) || !this.#skip('=')) return undefined;
      const quoted = this.#take(QUOTED);
      const value = quoted === undefined ? this.#take(TOKEN)?.[0] : quoted[1]?.replace(/\\(.)/g, '$1');
      if (value === undefined) return undefined;
      pairs.set(name, value);
    } while (this.#skip(';'));
    return pairs;
  }

  #skip(mark: string): boolean {
    if (this.#text[this.#at] !== mark) return false;
    this.#at += 1;
    return true;
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    const sticky = new RegExp(pattern);
    sticky.lastIndex = this.#at;
    const match = sticky.exec(this.#text);
    if (match === null) return undefined;
    this.#at += match[0].length;
    return match;
  }
}
