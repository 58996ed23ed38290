/** Parses the text of an address into 32-bit words without allocating: this runs for every hop of every request. */

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;
/** Longest spelling: six full groups and four full octets. */
const MAX_LENGTH = 45;
const MIN_DOTTED = 7;
const MAX_DOTTED = 15;
const NO_GAP = -1;
const NO_DIGIT = -1;

/** The value of each hexadecimal digit by its character code; `NO_DIGIT` for other characters. */
const HEX = Int8Array.from({ length: 128 }, (_, code) => '0123456789abcdef'.indexOf(lowerCase(code)));

function lowerCase(code: number): string {
  return String.fromCharCode(code).toLowerCase();
}

/**
 * Accepts the one strict spelling of IPv4 (four decimal octets, no leading zero) and every spelling of IPv6 in
 * RFC 4291 §2.2. Rejects octal, hexadecimal and short IPv4 forms (CVE-2021-29923 and related), ports, brackets and
 * zone ids. Uses no regular expression, no split, no allocation.
 */
export class AddressReader {
  /** The address read last, as signed words, most significant first; for IPv4 only the first one is valid. */
  readonly words = new Int32Array(4);
  /** Room for as many groups as a text can have; their count is checked at the end. */
  readonly #groups = new Uint16Array(Math.ceil(MAX_LENGTH / 2));

  /** Returns the family of the address, or 0 if the text is not an address. */
  read(text: string): 4 | 6 | 0 {
    if (text.length > MAX_LENGTH) return 0;
    if (this.#readDotted(text, 0)) return 4;
    return this.#readGroups(text) ? 6 : 0;
  }

  /**
   * Reads four octets from `start` to the end into the first word. The number of digits in an octet is unpredictable,
   * and a mispredicted branch costs more than four digits, so the digits are combined without branches. A mask is all
   * ones if its digit is absent; an invalid value is negative, and makes `wrong` negative from then on. Example `25.`:
   * the third character is not a digit, `noThird` is -1, the octet stays 25 and is two characters long.
   */
  #readDotted(text: string, start: number): boolean {
    const end = text.length;
    if (end - start < MIN_DOTTED || end - start > MAX_DOTTED) return false;
    let at = start;
    let word = 0;
    let wrong = 0;
    for (let octets = 0; octets < 3; octets++) {
      if (at + 2 >= end) return false;
      const first = text.charCodeAt(at) - ZERO;
      const second = text.charCodeAt(at + 1) - ZERO;
      const third = text.charCodeAt(at + 2) - ZERO;
      const noSecond = noDigit(second) >> 31;
      const noThird = noSecond | (noDigit(third) >> 31);
      let octet = first;
      octet += (octet * 9 + second) & ~noSecond;
      octet += (octet * 9 + third) & ~noThird;
      // A zero must stand alone: some parsers would read further digits as octal.
      wrong |= noDigit(first) | (255 - octet) | ((first - 1) & ~noSecond);
      at += 3 + noSecond + noThird;
      if (at >= end) return false;
      wrong |= -(text.charCodeAt(at) ^ DOT);
      word = (word << 8) | octet;
      at += 1;
    }
    const last = wrong < 0 ? NO_DIGIT : lastOctet(text, end - at);
    this.words[0] = (word << 8) | last;
    return last >= 0;
  }

  /** Reads the eight groups of an IPv6 address into the words, in one pass. */
  #readGroups(text: string): boolean {
    const end = text.length;
    let gap = NO_GAP;
    // Only a leading `::` has a colon without a group before it.
    let at = beginsGap(text, 1) ? 1 : 0;
    let count = 0;
    const groups = this.#groups;
    while (at < end) {
      const group = groupAt(text, at, end);
      const digits = group & 7;
      if (digits === 0) {
        if (gap !== NO_GAP || !beginsGap(text, at)) return false;
        gap = count;
        at += 1;
        continue;
      }
      groups[count] = group >>> 3;
      const next = at + digits;
      if (next === end) return this.#spread(count + 1, gap);
      const code = text.charCodeAt(next);
      if (code === DOT) return this.#readDottedTail(text, at, count, gap);
      if (code !== COLON) return false;
      count += 1;
      at = next + 1;
    }
    // Only a text that ends in `::` has no last group.
    return gap === count && this.#spread(count, gap);
  }

  /** Reads the last two groups, written as an IPv4 address (RFC 4291 §2.2, form 3). */
  #readDottedTail(text: string, at: number, count: number, gap: number): boolean {
    if (count > 6 || !this.#readDotted(text, at)) return false;
    const word = this.words[0] ?? 0;
    this.#groups[count] = word >>> 16;
    this.#groups[count + 1] = word;
    return this.#spread(count + 2, gap);
  }

  /** Expands `::` to zeros, at least one group of them, and packs the groups into words. */
  #spread(count: number, gap: number): boolean {
    if (gap === NO_GAP ? count !== 8 : count > 7) return false;
    if (gap !== NO_GAP) this.#fillGap(count, gap);
    const groups = this.#groups;
    for (let word = 0; word < 4; word++)
      this.words[word] = ((groups[word * 2] ?? 0) << 16) | (groups[word * 2 + 1] ?? 0);
    return true;
  }

  #fillGap(count: number, gap: number): void {
    const groups = this.#groups;
    const behind = count - gap;
    for (let back = 1; back <= behind; back++) groups[8 - back] = groups[count - back] ?? 0;
    for (let zero = gap; zero < 8 - behind; zero++) groups[zero] = 0;
  }
}

/** Whether a colon at `at` follows another. (`startsWith` would cost half as much as the whole parse.) */
function beginsGap(text: string, at: number): boolean {
  if (at < 1 || at >= text.length) return false;
  return text.charCodeAt(at) === COLON && text.charCodeAt(at - 1) === COLON;
}

/** Negative unless the digit is 0 to 9: 10 gives 10 | -1 and -2 gives -2 | 11, both -1. */
function noDigit(digit: number): number {
  return digit | (9 - digit);
}

/**
 * Reads the last `length` characters as an octet, from the end; negative if they are not one. With two characters
 * `noTens` is 0 and `noHundreds` is -1.
 */
function lastOctet(text: string, length: number): number {
  if (length < 1 || length > 3) return NO_DIGIT;
  const end = text.length;
  const ones = text.charCodeAt(end - 1) - ZERO;
  const tens = text.charCodeAt(end - 2) - ZERO;
  const hundreds = text.charCodeAt(end - 3) - ZERO;
  const noTens = (length - 2) >> 31;
  const noHundreds = (length - 3) >> 31;
  const octet = ones + ((tens * 10) & ~noTens) + ((hundreds * 100) & ~noHundreds);
  // The first of two or three digits must not be a zero.
  const wrong =
    noDigit(ones) |
    ((noDigit(tens) | ((tens - 1) & noHundreds)) & ~noTens) |
    ((noDigit(hundreds) | (hundreds - 1)) & ~noHundreds);
  return wrong < 0 || octet > 255 ? NO_DIGIT : octet;
}

/** Reads a group of up to four digits. Returns value << 3 | digit count: `1f:` gives 0x1f << 3 | 2, `:` gives 0. */
function groupAt(text: string, at: number, end: number): number {
  if (at + 4 <= end) {
    const full =
      (hexAt(text, at) << 12) | (hexAt(text, at + 1) << 8) | (hexAt(text, at + 2) << 4) | hexAt(text, at + 3);
    if (full >= 0) return (full << 3) | 4;
  }
  let group = 0;
  let digits = 0;
  while (digits < 4 && at + digits < end) {
    const digit = hexAt(text, at + digits);
    if (digit === NO_DIGIT) break;
    group = (group << 4) | digit;
    digits += 1;
  }
  return (group << 3) | digits;
}

function hexAt(text: string, at: number): number {
  return HEX[text.charCodeAt(at)] ?? NO_DIGIT;
}
