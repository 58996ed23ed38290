/** The longest prefix wins, whatever was inserted before or after it: held against looking at every prefix. */
import t from 'tap';
import { type Address, type Prefix, parseAddress, parsePrefix } from '../../gateway/core/address.ts';
import { buildPrefixTree } from '../../gateway/core/prefix-tree.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

function prefix(text: string): Prefix {
  const read = parsePrefix(text);
  if (typeof read === 'string') throw new Error(read);
  return read;
}

function address(text: string): Address {
  const read = parseAddress(text);
  if (read === undefined) throw new Error(text);
  return read;
}

/** Answers with the text of the prefix. */
function treeOf(...texts: string[]) {
  const tree = buildPrefixTree(texts.map(prefix));
  return { tree, find: (text: string) => texts[tree.lookup(address(text))?.number ?? -1] };
}

t.test('the longest prefix that holds the address answers', async (t) => {
  const { tree, find } = treeOf(
    '10.1.0.0/16',
    '10.0.0.0/8',
    '10.1.2.3/32',
    '10.2.0.0/16',
    '2001:db8::/32',
    '2001:db8::1/128',
  );
  t.equal(tree.size, 6);
  t.equal(find('10.1.2.3'), '10.1.2.3/32');
  t.equal(find('10.1.2.4'), '10.1.0.0/16');
  t.equal(find('10.3.0.0'), '10.0.0.0/8');
  t.equal(find('11.0.0.0'), undefined);
  t.equal(find('2001:db8::1'), '2001:db8::1/128');
  t.equal(find('2001:db8:1::'), '2001:db8::/32');
  t.same(tree.lookup(address('10.1.2.4')), { number: 0, bits: 16 });
  t.notOk(tree.contains(address('2001:db9::')));
  t.ok(tree.contains(address('::ffff:10.9.9.9')), 'an IPv4-mapped address is an IPv4 address');
});

t.test('an empty tree holds nothing, and the whole of one family nothing of the other', async (t) => {
  t.notOk(treeOf().tree.contains(address('0.0.0.0')));
  t.notOk(treeOf().tree.contains(address('::')));
  t.ok(treeOf('0.0.0.0/0').tree.contains(address('255.255.255.255')));
  t.same(treeOf('0.0.0.0/0').tree.lookup(address('0.0.0.0')), { number: 0, bits: 0 });
  t.notOk(treeOf('0.0.0.0/0').tree.contains(address('::1')));
  t.notOk(treeOf('::/0').tree.contains(address('127.0.0.1')));
  t.ok(treeOf('::/0').tree.contains(address('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')));
});

t.test('of two entries with one prefix the first counts', async (t) => {
  const tree = buildPrefixTree([prefix('10.0.0.0/8'), prefix('10.0.0.0/8')]);
  t.equal(tree.size, 1);
  t.same(tree.lookup(address('10.0.0.1')), { number: 0, bits: 8 });
});

interface Entry {
  readonly prefix: Prefix;
  readonly value: number;
}

const bitOf = (words: readonly number[], bit: number) => ((words[bit >> 5] ?? 0) >>> (31 - (bit & 31))) & 1;

function holds({ address: { family, words }, bits }: Prefix, other: Address): boolean {
  if (family !== other.family) return false;
  for (let bit = 0; bit < bits; bit++) if (bitOf(words, bit) !== bitOf(other.words, bit)) return false;
  return true;
}

function slowLookup(entries: readonly Entry[], other: Address): number | undefined {
  let best: Entry | undefined;
  for (const entry of entries) {
    if (holds(entry.prefix, other) && entry.prefix.bits > (best?.prefix.bits ?? -1)) best = entry;
  }
  return best?.value;
}

/** Few distinct bytes, so that prefixes nest, touch and repeat. */
function randomWords(random: SeededRandom, count: number): number[] {
  const bytes = [0, 0, 1, 127, 128, 254, 255, 255];
  const byte = () => bytes[random.below(bytes.length)] ?? 0;
  return Array.from(
    { length: count },
    () => ((byte() << 24) | (byte() << 16) | (byte() << 8) | byte()) >>> 0,
  );
}

function randomAddress(random: SeededRandom): Address {
  const family = random.next() < 0.5 ? 4 : 6;
  return { family, words: randomWords(random, family === 4 ? 1 : 4), text: '' };
}

function randomPrefix(random: SeededRandom): Prefix {
  const from = randomAddress(random);
  const most = from.family === 4 ? 32 : 128;
  const edges = [0, 1, 31, 32, 33, 64, 96, 127, 128].filter((bits) => bits <= most);
  const bits = random.next() < 0.3 ? (edges[random.below(edges.length)] ?? 0) : random.below(most + 1);
  const words = from.words.map((word, index) => {
    const kept = Math.min(32, Math.max(0, bits - index * 32));
    return kept === 0 ? 0 : (word & (0xffffffff << (32 - kept))) >>> 0;
  });
  return { address: { family: from.family, words, text: '' }, bits, text: '' };
}

/** An address at the edge of a prefix, or one bit away from it. */
function nearAddress(random: SeededRandom, { address: { family, words } }: Prefix): Address {
  const near = [...words];
  const bit = random.below(near.length * 32);
  near[bit >> 5] = ((near[bit >> 5] ?? 0) ^ (1 << (31 - (bit & 31)))) >>> 0;
  return { family, words: near, text: '' };
}

t.test('every lookup answers as looking at every prefix does', async (t) => {
  const random = new SeededRandom(7);
  let lookups = 0;
  let found = 0;
  for (let round = 0; round < 400; round++) {
    const prefixes = Array.from({ length: random.below(60) }, () => randomPrefix(random));
    const entries = prefixes.map((each, value) => ({ prefix: each, value }));
    const tree = buildPrefixTree(prefixes);
    for (let i = 0; i < 300; i++) {
      const chosen = prefixes[random.below(prefixes.length)];
      const other =
        chosen !== undefined && random.next() < 0.5 ? nearAddress(random, chosen) : randomAddress(random);
      const expected = slowLookup(entries, other);
      lookups += 1;
      if (expected !== undefined) found += 1;
      const answer = tree.lookup(other)?.number;
      if (answer !== expected || tree.contains(other) !== (expected !== undefined)) {
        t.fail(`round ${round}: ${other.words.join(' ')} gives ${answer}, not ${expected}`);
      }
    }
  }
  t.ok(
    lookups >= 100_000 && found > 20_000 && found < lookups,
    `${found} of ${lookups} lookups found a prefix`,
  );
});
