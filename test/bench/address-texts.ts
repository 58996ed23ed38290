/** Random address lists and addresses, as text. */

import ipaddr from 'ipaddr.js';
import type { SeededRandom } from '../patch/seeded-random.ts';

/** Returns a list of `count` prefixes, one per line; `mixed` is half IPv4, half IPv6. */
export function listText(random: SeededRandom, count: number, families: 'four' | 'mixed'): string {
  const fours = families === 'four' ? count : count / 2;
  const lines = [
    ...Array.from({ length: fours }, () => randomFour(random)),
    ...Array.from({ length: count - fours }, () => randomSix(random)),
  ];
  // Makes it one flat string, like a file that was read, not a rope of the strings that were joined.
  return Buffer.from(lines.join('\n')).toString('latin1');
}

/** Many addresses in one buffer, a few of which at a time are turned into strings. */
export class AddressTexts {
  readonly #bytes: Buffer;
  readonly #starts: Uint32Array;

  constructor(texts: readonly string[]) {
    this.#bytes = Buffer.from(texts.join(''));
    this.#starts = new Uint32Array(texts.length + 1);
    for (const [index, { length }] of texts.entries())
      this.#starts[index + 1] = (this.#starts[index] ?? 0) + length;
  }

  get count(): number {
    return this.#starts.length - 1;
  }

  /** Fills `into` with new strings, starting with the address at index `from`, as a request has new ones. */
  make(from: number, into: string[]): void {
    for (let index = 0; index < into.length; index++) {
      const at = from + index;
      into[index] = this.#bytes.toString('latin1', this.#starts[at], this.#starts[at + 1]);
    }
  }
}

export function fourTexts(random: SeededRandom, count: number): AddressTexts {
  return new AddressTexts(Array.from({ length: count }, () => fourText(random.below(2 ** 32))));
}

export function sixTexts(random: SeededRandom, count: number): AddressTexts {
  return new AddressTexts(Array.from({ length: count }, () => sixText(random)));
}

function fourText(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

function sixText(random: SeededRandom): string {
  const groups = Array.from({ length: 7 }, () => random.below(65_536).toString(16));
  return [(0x2000 + random.below(0x2000)).toString(16), ...groups].join(':');
}

/** 60 % have /24, as most announced networks do, the others /12 to /32. Bits behind the prefix are zero. */
function randomFour(random: SeededRandom): string {
  const bits = random.next() < 0.6 ? 24 : 12 + random.below(21);
  const word = (random.below(2 ** 32) & (-1 << (32 - bits))) >>> 0;
  return `${fourText(word)}/${bits}`;
}

function randomSix(random: SeededRandom): string {
  const bits = random.next() < 0.6 ? 48 : 20 + random.below(45);
  const bytes = [0x20 + random.below(0x20), ...random.bytes(15)].map((byte, index) => {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    return byte & (0xff00 >> kept) & 0xff;
  });
  return `${new ipaddr.IPv6(bytes).toRFC5952String()}/${bits}`;
}
