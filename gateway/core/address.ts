/** IP addresses as integers: what the prefix tree walks and what the log prints. */

import ipaddr from 'ipaddr.js';

/**
 * An address. IPv4 has one 32-bit word, IPv6 four, most significant first; an IPv4-mapped IPv6 address
 * (`::ffff:a.b.c.d`) is always held as IPv4. `text` is the canonical spelling (RFC 5952).
 */
export interface Address {
  readonly family: 4 | 6;
  readonly words: readonly number[];
  readonly text: string;
}

/** The addresses that share the first `bits` bits; bits behind them are zero. */
export interface Prefix {
  readonly address: Address;
  readonly bits: number;
  readonly text: string;
}

/** Strict: no octal, hexadecimal or short forms (CVE-2021-29921 and its kin), no zone, no port. */
export function parseAddress(text: string): Address | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

/** A prefix in CIDR notation, a bare address being its own; or what is wrong with it. */
export function parsePrefix(text: string): Prefix | string {
  const [addressText = '', bitsText, more] = text.split('/');
  const address = parseAddress(addressText);
  if (address === undefined || more !== undefined) return `${text} is no address prefix`;
  // A mapped prefix counts its bits from the front of the IPv6 spelling.
  const offset = address.family === 4 && addressText.includes(':') ? 96 : 0;
  const width = address.family === 4 ? 32 : 128;
  if (bitsText !== undefined && !/^(?:0|[1-9][0-9]{0,2})$/.test(bitsText))
    return `${text} has no prefix length`;
  const bits = bitsText === undefined ? width : Number(bitsText) - offset;
  if (bits < 0 || bits > width) return `the prefix length of ${text} is out of range`;
  const network = masked(address, bits);
  const canonical = `${network.text}/${bits}`;
  if (network.text !== address.text) return `${text} has host bits set; the prefix is ${canonical}`;
  return { address: network, bits, text: canonical };
}

/** Bit `index` of the address, the most significant being 0. */
export function bitAt(address: Address, index: number): 0 | 1 {
  return (((address.words[index >>> 5] ?? 0) >>> (31 - (index & 31))) & 1) as 0 | 1;
}

function parseV4(text: string): Address | undefined {
  const word = dottedQuad(text);
  return word === undefined ? undefined : { family: 4, words: [word], text };
}

/** Four decimal octets without leading zeros; the spelling is canonical when it passes. */
function dottedQuad(text: string): number | undefined {
  if (!/^(?:(?:0|[1-9][0-9]{0,2})(?:\.(?!$)|$)){4}$/.test(text)) return undefined;
  let word = 0;
  for (const octet of text.split('.')) {
    if (Number(octet) > 255) return undefined;
    word = word * 256 + Number(octet);
  }
  return word;
}

function parseV6(text: string): Address | undefined {
  const groups = v6Groups(text);
  if (groups === undefined) return undefined;
  const words = [0, 2, 4, 6].map((at) => (groups[at] ?? 0) * 65536 + (groups[at + 1] ?? 0));
  const [first, second, third, fourth = 0] = words;
  if (first === 0 && second === 0 && third === 0xffff) return fromV4Word(fourth);
  return { family: 6, words, text: new ipaddr.IPv6(groups).toRFC5952String() };
}

/** The eight groups, `::` filled in and a dotted tail taken as two. */
function v6Groups(text: string): number[] | undefined {
  const halves = withDottedTail(text)?.split('::');
  if (halves === undefined || halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')));
  if (head === undefined) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const parts = [...head, ...new Array<string>(Math.max(0, missing)).fill('0'), ...(tail ?? [])];
  if (!parts.every((part) => /^[0-9a-fA-F]{1,4}$/.test(part))) return undefined;
  return parts.map((part) => Number.parseInt(part, 16));
}

/** The text with a tail of dotted decimals (`::ffff:1.2.3.4`) written as two groups. */
function withDottedTail(text: string): string | undefined {
  if (!text.includes('.')) return text;
  const at = text.lastIndexOf(':') + 1;
  const word = dottedQuad(text.slice(at));
  if (word === undefined) return undefined;
  return `${text.slice(0, at)}${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`;
}

function fromV4Word(word: number): Address {
  const text = [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.');
  return { family: 4, words: [word], text };
}

function masked(address: Address, bits: number): Address {
  const words = address.words.map((word, at) => {
    const kept = Math.min(32, Math.max(0, bits - at * 32));
    return kept === 0 ? 0 : (word & (0xffffffff << (32 - kept))) >>> 0;
  });
  if (address.family === 4) return fromV4Word(words[0] ?? 0);
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  return { family: 6, words, text: new ipaddr.IPv6(groups).toRFC5952String() };
}
