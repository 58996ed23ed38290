/** IP addresses as integers: what the prefix tree walks and what the log prints. */

/**
 * An address. IPv4 has one 32-bit word, IPv6 four, most significant first; an IPv4-mapped IPv6 address
 * (`::ffff:a.b.c.d`) is always held as IPv4. `text` is the canonical spelling (RFC 5952).
 */
export interface Address {
  readonly family: 4 | 6;
  readonly words: readonly number[];
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

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;
const NINE = 0x39;
const NOT_A_NUMBER = -1;
/** Longest spelling: six full groups and four full octets. */
const MAX_LENGTH = 45;
const PREFIX_LENGTH = /^(?:0|[1-9][0-9]{0,2})$/;

/**
 * Reads the one strict spelling of IPv4 (four decimal octets, no leading zero) or any spelling of IPv6 of
 * RFC 4291 §2.2; nothing for octal, hexadecimal and short forms (CVE-2021-29923 and its kin), ports, brackets and
 * zone ids. No regular expression and no split: this runs for every hop of every request.
 */
export function parseAddress(text: string): Address | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const word = readDotted(text, 0);
  if (word !== NOT_A_NUMBER) return { family: 4, words: [word], text };
  return readGroups(text) ? fromGroups() : undefined;
}

/**
 * Reads `address/length`, or an address alone, which stands for itself; the answer is a sentence when it is
 * neither, or when bits beyond the length are set. IPv4-mapped prefixes become IPv4.
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
  if (bits < 0) return `${text} mixes IPv4 and IPv6: an IPv4-mapped prefix has a length of 96 at least`;
  if (bits > most) return `${text} is longer than ${mapped ? 128 : most} bits`;
  const cleared = clearHostBits(address, bits);
  if (cleared.words.some((word, index) => word !== address.words[index]))
    return `${text} has host bits set: the prefix is ${cleared.text}/${bits}`;
  return prefixOf(address, bits);
}

/** An address of words as they are. */
export function addressOf(family: 4 | 6, words: readonly number[]): Address {
  return family === 4 ? { family, words, text: dotted(words[0] ?? 0) } : new AddressSix(words);
}

/** The prefix of `bits` bits that holds an address. */
export function prefixAround(address: Address, bits: number): Prefix {
  return prefixOf(clearHostBits(address, bits), bits);
}

function prefixOf(address: Address, bits: number): Prefix {
  return new AddressPrefix(address, bits);
}

/** Its spelling is written when it is asked for, as that of an address. */
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

function clearHostBits(address: Address, bits: number): Address {
  const words = address.words.map((word, index) => (word & maskOf(bits - index * 32)) >>> 0);
  const [first = 0] = words;
  if (address.family === 4) return { family: 4, words, text: dotted(first) };
  return new AddressSix(words);
}

/** The mask of a word of which `bits` bits count: -8 gives 0, 8 gives 0xff000000, 40 gives 0xffffffff. */
function maskOf(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}

/** Four octets from `start` to the end as one word, or `NOT_A_NUMBER`: one pass, as this is what most texts are. */
function readDotted(text: string, start: number): number {
  let word = 0;
  let octet = 0;
  let digits = 0;
  let dots = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (digits === 0) return NOT_A_NUMBER;
      word = word * 256 + octet;
      octet = 0;
      digits = 0;
      dots += 1;
      continue;
    }
    octet = withDigit(octet, digits, code);
    if (octet === NOT_A_NUMBER) return NOT_A_NUMBER;
    digits += 1;
  }
  return dots === 3 && digits > 0 ? word * 256 + octet : NOT_A_NUMBER;
}

/** An octet of so many digits and one more. A zero stands alone: digits behind it would be octal to some. */
function withDigit(octet: number, digits: number, code: number): number {
  if (!isDigit(code) || (digits > 0 && octet === 0)) return NOT_A_NUMBER;
  const value = octet * 10 + code - ZERO;
  return value > 255 ? NOT_A_NUMBER : value;
}

const NO_GAP = -1;

/** What `readGroups` has read so far; it is done with it before anything else can begin. */
const groups = new Uint16Array(8);
const reading = { count: 0, gap: NO_GAP };

/** The value of each hexadecimal digit by its character code; of other characters `NOT_A_NUMBER`. */
const HEX = Int8Array.from({ length: 128 }, (_, code) => '0123456789abcdef'.indexOf(lowerCase(code)));

function lowerCase(code: number): string {
  return String.fromCharCode(code).toLowerCase();
}

/** Reads the eight groups of an IPv6 address into `groups`, in one pass; false when the text is none. */
function readGroups(text: string): boolean {
  const startsWithGap = text.startsWith('::');
  reading.count = 0;
  reading.gap = startsWithGap ? 0 : NO_GAP;
  let group = 0;
  let digits = 0;
  for (let at = startsWithGap ? 2 : 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const digit = HEX[code] ?? NOT_A_NUMBER;
    if (digit !== NOT_A_NUMBER) {
      group = group * 16 + digit;
      digits += 1;
      continue;
    }
    if (code === DOT) return readDottedTail(text, at - digits);
    if (code !== COLON || !takeColon(group, digits)) return false;
    group = 0;
    digits = 0;
  }
  // Where `::` stands at the end there is no last group.
  if (digits === 0) return reading.gap === reading.count && spread();
  return takeGroup(group, digits) && spread();
}

/** A colon ends a group, or begins the gap where another colon precedes it. */
function takeColon(group: number, digits: number): boolean {
  if (digits > 0) return takeGroup(group, digits);
  if (reading.gap !== NO_GAP || reading.count === 0) return false;
  reading.gap = reading.count;
  return true;
}

function takeGroup(group: number, digits: number): boolean {
  if (digits > 4 || reading.count > 7) return false;
  groups[reading.count++] = group;
  return true;
}

/** The last two groups written as an IPv4 address (RFC 4291 §2.2, form 3). */
function readDottedTail(text: string, at: number): boolean {
  const word = readDotted(text, at);
  return word !== NOT_A_NUMBER && takeGroup(word >>> 16, 1) && takeGroup(word & 0xffff, 1) && spread();
}

/** Puts the zeros of `::`, one group at least, where they belong. */
function spread(): boolean {
  const { count, gap } = reading;
  if (gap === NO_GAP) return count === 8;
  if (count > 7) return false;
  groups.copyWithin(8 - (count - gap), gap, count);
  groups.fill(0, gap, 8 - (count - gap));
  return true;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

function fromGroups(): Address {
  const word = (index: number): number => (groups[index] ?? 0) * 65536 + (groups[index + 1] ?? 0);
  const [high, next, mark, low] = [word(0), word(2), word(4), word(6)];
  if (high === 0 && next === 0 && mark === 0xffff) return { family: 4, words: [low], text: dotted(low) };
  return new AddressSix([high, next, mark, low]);
}

/** Its canonical spelling is written when it is asked for: most addresses are only looked up. */
class AddressSix implements Address {
  readonly family = 6;
  readonly words: readonly number[];
  #text: string | undefined;

  constructor(words: readonly number[]) {
    this.words = words;
  }

  get text(): string {
    this.#text ??= compressed(this.words.flatMap((word) => [word >>> 16, word & 0xffff]));
    return this.#text;
  }
}

function dotted(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** Lower case, no leading zeros, `::` for the first of the longest runs of two or more zeros (RFC 5952 §4). */
function compressed(all: readonly number[]): string {
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
