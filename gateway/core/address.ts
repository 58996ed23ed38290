/** IP addresses as integers: what the prefix tree walks and what the log prints. */

import { AddressReader } from './address-reader.ts';

/**
 * An address. IPv4 has one 32-bit word, IPv6 four, most significant first; an IPv4-mapped IPv6 address
 * (`::ffff:a.b.c.d`) is always held as IPv4.
 */
export interface Address {
  readonly family: 4 | 6;
  /** The four words as signed integers, which V8 stores in the object itself; for IPv4 all but the first are 0. */
  readonly first: number;
  readonly second: number;
  readonly third: number;
  readonly fourth: number;
  /** One word or four, unsigned; a new list on each access. */
  readonly words: readonly number[];
  /** Canonical spelling (RFC 5952). */
  readonly text: string;
}

/** All addresses whose first `bits` bits are those of `address`, whose other bits are 0. */
export interface Prefix {
  readonly address: Address;
  /** 0 to 32, or 0 to 128. */
  readonly bits: number;
  /** Canonical spelling, length included. */
  readonly text: string;
}

const PREFIX_LENGTH = /^(?:0|[1-9][0-9]{0,2})$/;

/** Can be shared: each read is synchronous, and its words are copied at once. */
const reader = new AddressReader();

/** Parses strict IPv4 or any spelling of IPv6. Returns undefined for a text that `AddressReader` rejects. */
export function parseAddress(text: string): Address | undefined {
  const family = reader.read(text);
  if (family === 0) return undefined;
  // By index: destructuring the list would cost more than the parse.
  const first = reader.words[0] ?? 0;
  if (family === 4) return new IpAddress(4, first, 0, 0, 0, text);
  const second = reader.words[1] ?? 0;
  const third = reader.words[2] ?? 0;
  const fourth = reader.words[3] ?? 0;
  if (first === 0 && second === 0 && third === 0xffff) return new IpAddress(4, fourth, 0, 0, 0);
  return new IpAddress(6, first, second, third, fourth);
}

/**
 * Parses `address/length`, or an address alone as a prefix of full length. Returns an error string if the text is
 * neither, or if bits beyond the length are set. IPv4-mapped prefixes become IPv4.
 */
export function parsePrefix(text: string): Prefix | string {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return `${text} is not an address or a prefix`;
  const most = address.family === 4 ? 32 : 128;
  if (slash < 0) return prefixOf(address, most);
  const length = text.slice(slash + 1);
  if (!PREFIX_LENGTH.test(length)) return `${text} has no decimal prefix length`;
  const mapped = address.family === 4 && text.includes(':');
  const bits = Number(length) - (mapped ? 96 : 0);
  if (bits < 0) return `${text} mixes IPv4 and IPv6: an IPv4-mapped prefix needs a length of at least 96`;
  if (bits > most) return `${text} is longer than ${mapped ? 128 : most} bits`;
  const cleared = clearHostBits(address, bits);
  if (!isSame(cleared, address)) return `${text} has host bits set: the prefix is ${cleared.text}/${bits}`;
  return prefixOf(address, bits);
}

/** Builds an address from words, signed or unsigned. */
export function addressOf(family: 4 | 6, words: readonly number[]): Address {
  const [first = 0, second = 0, third = 0, fourth = 0] = words;
  return new IpAddress(family, first | 0, second | 0, third | 0, fourth | 0);
}

/** The prefix of `bits` bits that contains the address. */
export function prefixAround(address: Address, bits: number): Prefix {
  return prefixOf(clearHostBits(address, bits), bits);
}

function prefixOf(address: Address, bits: number): Prefix {
  return new AddressPrefix(address, bits);
}

/** Computes `text` on access: most prefixes are only looked up. */
class AddressPrefix implements Prefix {
  readonly address: Address;
  readonly bits: number;

  constructor(address: Address, bits: number) {
    this.address = address;
    this.bits = bits;
  }

  get text(): string {
    return `${this.address.text}/${this.bits}`;
  }
}

/** Computes `text` on first access: most addresses are only looked up. */
class IpAddress implements Address {
  readonly family: 4 | 6;
  readonly first: number;
  readonly second: number;
  readonly third: number;
  readonly fourth: number;
  #text: string | undefined;

  constructor(family: 4 | 6, first: number, second: number, third: number, fourth: number, text?: string) {
    this.family = family;
    this.first = first;
    this.second = second;
    this.third = third;
    this.fourth = fourth;
    this.#text = text;
  }

  get words(): readonly number[] {
    if (this.family === 4) return [this.first >>> 0];
    return [this.first >>> 0, this.second >>> 0, this.third >>> 0, this.fourth >>> 0];
  }

  get text(): string {
    this.#text ??= this.family === 4 ? dotted(this.first) : compressed(this.words);
    return this.#text;
  }
}

function isSame(one: Address, other: Address): boolean {
  return (
    one.first === other.first &&
    one.second === other.second &&
    one.third === other.third &&
    one.fourth === other.fourth
  );
}

function clearHostBits({ family, first, second, third, fourth }: Address, bits: number): Address {
  return new IpAddress(
    family,
    first & maskOf(bits),
    second & maskOf(bits - 32),
    third & maskOf(bits - 64),
    fourth & maskOf(bits - 96),
  );
}

/** The mask of the first `bits` bits of a word: -8 gives 0, 8 gives 0xff000000, 40 gives 0xffffffff. */
function maskOf(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}

function dotted(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** Lower case, no leading zeros, `::` for the first of the longest runs of two or more zeros (RFC 5952 §4). */
function compressed(words: readonly number[]): string {
  const all = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  const { start, length } = longestZeroRun(all);
  const hex = all.map((group) => group.toString(16));
  if (length < 2) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

function longestZeroRun(all: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of all.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index - length + 1, length };
  }
  return best;
}
