/** The longest prefix wins in whatever order prefixes were inserted, as a search through all of them confirms. */
import ipaddr from 'ipaddr.js';
import t, { type Test } from 'tap';
import {
  type Address,
  addressOf,
  type Prefix,
  parseAddress,
  parsePrefix,
} from '../../gateway/core/address.ts';
import { buildPrefixTree, type PrefixTree, treeOf as treeOver } from '../../gateway/core/prefix-tree.ts';
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

/** Finds the text of the prefix. */
function treeOf(...texts: string[]) {
  const tree = buildPrefixTree(texts.map(prefix));
  return { tree, find: (text: string) => texts[tree.lookup(address(text))?.number ?? -1] };
}

t.test('the longest prefix that holds the address is found', async (t) => {
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

t.test('an empty tree holds nothing, and all of one family hold nothing of the other', async (t) => {
  t.notOk(treeOf().tree.contains(address('0.0.0.0')));
  t.notOk(treeOf().tree.contains(address('::')));
  t.ok(treeOf('0.0.0.0/0').tree.contains(address('255.255.255.255')));
  t.same(treeOf('0.0.0.0/0').tree.lookup(address('0.0.0.0')), { number: 0, bits: 0 });
  t.notOk(treeOf('0.0.0.0/0').tree.contains(address('::1')));
  t.notOk(treeOf('::/0').tree.contains(address('127.0.0.1')));
  t.ok(treeOf('::/0').tree.contains(address('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')));
});

t.test('of two entries with the same prefix the first counts', async (t) => {
  const tree = buildPrefixTree([prefix('10.0.0.0/8'), prefix('10.0.0.0/8')]);
  t.equal(tree.size, 1);
  t.same(tree.lookup(address('10.0.0.1')), { number: 0, bits: 8 });
});

type Parsed = ReturnType<typeof ipaddr.parse>;

function parsedOf({ family, words }: Address): Parsed {
  const bytes = words.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
  return family === 4 ? new ipaddr.IPv4(bytes) : new ipaddr.IPv6(bytes);
}

/** The number of the longest of all prefixes that hold the address, found with another library. */
function slowLookup(ranges: readonly (readonly [Parsed, number])[], other: Parsed): number | undefined {
  let best: number | undefined;
  for (const [number, [range, bits]] of ranges.entries()) {
    if (range.kind() !== other.kind() || bits <= (ranges[best ?? -1]?.[1] ?? -1)) continue;
    if (other.match(range as ipaddr.IPv4 & ipaddr.IPv6, bits)) best = number;
  }
  return best;
}

/** Words of few distinct bytes, so that prefixes nest, touch and repeat. */
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
  return addressOf(family, randomWords(random, family === 4 ? 1 : 4));
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
  return { address: addressOf(from.family, words), bits, text: '' };
}

/** An address at the edge of a prefix, or one bit away from it. */
function nearAddress(random: SeededRandom, { address: { family, words } }: Prefix): Address {
  const near = [...words];
  const bit = random.below(near.length * 32);
  near[bit >> 5] = ((near[bit >> 5] ?? 0) ^ (1 << (31 - (bit & 31)))) >>> 0;
  return addressOf(family, near);
}

function agrees(
  tree: PrefixTree,
  other: Address,
  expected: number | undefined,
  prefixes: readonly Prefix[],
): boolean {
  const answer = tree.lookup(other);
  if (answer?.number !== expected || tree.contains(other) !== (expected !== undefined)) return false;
  return answer === undefined || answer.bits === prefixes[answer.number]?.bits;
}

interface Held {
  readonly lookups: number;
  readonly found: number;
}

/** Compares a tree of so many prefixes, or one over a copy of its tables, with a search, at and near some edges. */
function holdAgainstAll(t: Test, random: SeededRandom, count: number, lookups: number): Held {
  const prefixes = Array.from({ length: count }, () => randomPrefix(random));
  const ranges = prefixes.map(({ address: each, bits }) => [parsedOf(each), bits] as const);
  const built = buildPrefixTree(prefixes);
  const tree = random.next() < 0.5 ? built : treeOver(structuredClone(built.tables));
  let found = 0;
  for (let i = 0; i < lookups; i++) {
    const chosen = prefixes[random.below(prefixes.length)];
    const other =
      chosen !== undefined && random.next() < 0.5 ? nearAddress(random, chosen) : randomAddress(random);
    const expected = slowLookup(ranges, parsedOf(other));
    if (expected !== undefined) found += 1;
    if (!agrees(tree, other, expected, prefixes))
      t.fail(`of ${count} prefixes ${other.words.join(' ')} should give ${expected}`);
  }
  return { lookups, found };
}

t.test('a million lookups give what ipaddr.js finds by looking at every prefix', async (t) => {
  const random = new SeededRandom(7);
  let lookups = 0;
  let found = 0;
  for (let round = 0; round < 1000; round++) {
    const held = holdAgainstAll(t, random, random.below(40), 1000);
    lookups += held.lookups;
    found += held.found;
  }
  t.comment(`${lookups} lookups, ${found} of them found a prefix`);
  t.ok(lookups === 1_000_000 && found > 200_000 && found < lookups);
});

t.test('a list long enough to be sorted digit by digit gives what ipaddr.js finds', async (t) => {
  const random = new SeededRandom(8);
  for (const count of [1024, 1025, 5000]) {
    const { found } = holdAgainstAll(t, random, count, 1000);
    t.ok(found > 200, `of ${count} prefixes ${found} lookups found one`);
  }
});

t.test('nested prefixes of every length and long runs of neighbours are all found', async (t) => {
  const nested = [
    ...Array.from({ length: 33 }, (_, bits) => `0.0.0.0/${bits}`),
    ...Array.from({ length: 129 }, (_, bits) => `::/${bits}`),
  ];
  const { find } = treeOf(...nested);
  t.equal(find('0.0.0.0'), '0.0.0.0/32');
  t.equal(find('0.0.0.1'), '0.0.0.0/31');
  t.equal(find('128.0.0.0'), '0.0.0.0/0');
  t.equal(find('::'), '::/128');
  t.equal(find('::1:0:0:0'), '::/79');
  t.equal(find('8000::'), '::/0');
  const neighbours = Array.from(
    { length: 70_000 },
    (_, n) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32`,
  );
  const { tree } = treeOf(...neighbours);
  t.equal(tree.size, 70_000, 'the neighbours are more than one step of the sort takes');
  t.ok(tree.contains(address('10.1.17.111')));
  t.notOk(tree.contains(address('10.1.17.112')));
  t.equal(tree.lookup(address('10.0.255.255'))?.number, 65_535);
});
