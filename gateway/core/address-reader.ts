/** Reads the text of an address into 32-bit words and makes nothing else of it: this runs for every hop of every request. */

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;
/** Longest spelling: six full groups and four full octets. */
const MAX_LENGTH = 45;
const MIN_DOTTED = 7;
const MAX_DOTTED = 15;
const NO_GAP = -1;
const NO_DIGIT = -1;

/** The value of each hexadecimal digit by its character code; of other characters `NO_DIGIT`. */
const HEX = Int8Array.from({ length: 128 }, (_, code) => '0123456789abcdef'.indexOf(lowerCase(code)));

function lowerCase(code: number): string {
  return String.fromCharCode(code).toLowerCase();
}

/**
 * Reads the one strict spelling of IPv4 (four decimal octets, no leading zero) or any spelling of IPv6 of
 * RFC 4291 §2.2; nothing of octal, hexadecimal and short forms (CVE-2021-29923 and its kin), ports, brackets and
 * zone ids. No regular expression, no split, no allocation.
 */
export class AddressReader {
  /** Of the address read last, signed, most significant first; of IPv4 the first one alone counts. */
  readonly words = new Int32Array(4);
  /** As many as a text can have; how many there are is looked at in the end. */
  readonly #groups = new Uint16Array(Math.ceil(MAX_LENGTH / 2));

  /** The family of the address, or 0 when the text is none. */
  read(text: string): 4 | 6 | 0 {
    if (text.length > MAX_LENGTH) return 0;
    if (this.#readDotted(text, 0)) return 4;
    return this.#readGroups(text) ? 6 : 0;
  }

  /**
   * Four octets from `start` to the end into the first word. How many digits an octet has is anybody's guess, the
   * processor's too, and a wrong guess costs it more than four digits: so nothing is asked, all is computed. A mask is
   * all ones where a digit is absent; a value that must not be is negative, and so is `wrong` from then on. `25.`: the
   * third is no digit, `noThird` is -1, the octet stays 25 and is two long.
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
      // A zero stands alone: digits behind it would be octal to some.
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

  /** The eight groups of an IPv6 address into the words, in one pass. */
  #readGroups(text: string): boolean {
    const end = text.length;
    let gap = NO_GAP;
    // At the start, and nowhere else, a colon has no group before it.
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
    // Where `::` stands at the end there is no last group.
    return gap === count && this.#spread(count, gap);
  }

  /** The last two groups written as an IPv4 address (RFC 4291 §2.2, form 3). */
  #readDottedTail(text: string, at: number, count: number, gap: number): boolean {
    if (count > 6 || !this.#readDotted(text, at)) return false;
    const word = this.words[0] ?? 0;
    this.#groups[count] = word >>> 16;
    this.#groups[count + 1] = word;
    return this.#spread(count + 2, gap);
  }

  /** Puts the zeros of `::`, one group at least, where they belong, and the groups into words. */
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

/** Whether a colon stands there, behind another. (`startsWith` costs as much as half of the reading.) */
function beginsGap(text: string, at: number): boolean {
  if (at < 1 || at >= text.length) return false;
  return text.charCodeAt(at) === COLON && text.charCodeAt(at - 1) === COLON;
}

/** Negative unless the digit is 0 to 9. */
function noDigit(digit: number): number {
  return digit | (9 - digit);
}

/** The octet of the last `length` characters, read from the end; negative when they are none. */
function lastOctet(text: string, length: number): number {
  if (length < 1 || length > 3) return NO_DIGIT;
  const end = text.length;
  const ones = text.charCodeAt(end - 1) - ZERO;
  const tens = text.charCodeAt(end - 2) - ZERO;
  const hundreds = text.charCodeAt(end - 3) - ZERO;
  const noTens = (length - 2) >> 31;
  const noHundreds = (length - 3) >> 31;
  const octet = ones + ((tens * 10) & ~noTens) + ((hundreds * 100) & ~noHundreds);
  // Of two digits the tens, of three the hundreds must not be a zero.
  const wrong =
    noDigit(ones) |
    ((noDigit(tens) | ((tens - 1) & noHundreds)) & ~noTens) |
    ((noDigit(hundreds) | (hundreds - 1)) & ~noHundreds);
  return wrong < 0 || octet > 255 ? NO_DIGIT : octet;
}

/** A group of one to four digits: its value above, and in the last three bits how many they are, perhaps none. */
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
