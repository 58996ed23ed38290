/** Lists as text: entries, faults with their lines, expiry, and a file that changes while it is used. */

import { open, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { addressOf } from '../../gateway/core/address.ts';
import { formatFault } from '../../gateway/core/fault.ts';
import { finish } from '../../gateway/core/prefix-tree.ts';
import { MIB } from '../../gateway/core/units.ts';
import { prefixReader } from '../../gateway/lists/contents.ts';
import { readEntry } from '../../gateway/lists/entry.ts';
import { FileFeed } from '../../gateway/lists/file-feed.ts';
import { FileWatch } from '../../gateway/sources/file-watch.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { follow } from './following.ts';
import { until } from './servers.ts';

const NOW_MS = Date.parse('2026-12-01T00:00:00Z');

function faultsOf(text: string): readonly string[] {
  const read = finish(prefixReader.text('x.cidr', text, NOW_MS));
  return 'tree' in read ? [] : read.map(formatFault);
}

t.test('an entry is a prefix with an optional expiry and comment', async (t) => {
  t.match(readEntry('203.0.113.0/24'), { prefix: { text: '203.0.113.0/24' } });
  t.match(readEntry('  203.0.113.7 # why'), { prefix: { text: '203.0.113.7/32' } });
  t.match(readEntry('2001:db8::/32\tuntil=2026-12-01T00:00:00Z#why'), { untilMs: NOW_MS });
  t.match(readEntry('10.0.0.0/8 until=2026-12-01T02:00:00+02:00\r'), { untilMs: NOW_MS });
  t.match(readEntry('\n10.0.0.0/8 # why\r\n'), { prefix: { text: '10.0.0.0/8' } });
  for (const nothing of ['', '   ', '# 10.0.0.0/8', '\r']) t.equal(readEntry(nothing), undefined);
  for (const bad of [
    '10.0.0.1/8',
    '010.0.0.0/8',
    '10/8',
    '10.0.0.0/8 x',
    '10.0.0.0/8 until=tomorrow',
    '10.0.0.0/8 until=2026-12-01',
    '10.0.0.0/8 until=2026-12-01T00:00:00',
    '10.0.0.0/8 until=2026-13-01T00:00:00Z',
    '10.0.0.0/8 until=2026-02-30T00:00:00Z',
    '10.0.0.0/8 until=2026-12-01T24:00:00Z',
    '10.0.0.0/8,11.0.0.0/8',
    '10.0.0.0/8 # why\n11.0.0.0/8',
    '10.0.0.0/8# why\r11.0.0.0/8',
    '# why\r\n11.0.0.0/8',
    'fe80::1%eth0',
    '\0\0\0',
    'x'.repeat(1_000_000),
  ]) {
    t.type(readEntry(bad), 'string', JSON.stringify(bad.slice(0, 40)));
  }
});

t.test('one bad line among a hundred thousand is reported with its place', async (t) => {
  const lines = Array.from({ length: 100_000 }, (_, index) => `10.${(index >> 8) & 255}.${index & 255}.0/24`);
  lines[77_776] = '  10.1.2.3/24  # a machine';
  t.same(faultsOf(lines.join('\n')), [
    'x.cidr:77777:3: 10.1.2.3/24 has host bits set: the prefix is 10.1.2.0/24',
  ]);
});

t.test('rubbish gives faults, but not one for every line', async (t) => {
  const random = new SeededRandom(3);
  const faults = faultsOf(random.bytes(200_000).toString('latin1'));
  t.ok(faults.length > 0 && faults.length <= 20);
});

t.test('the place of a match is its line, whatever is in between', async (t) => {
  const read = finish(prefixReader.text('x.cidr', '# offices\r\n\r\n203.0.113.0/24\r\n10.0.0.0/8', NOW_MS));
  if (!('tree' in read)) throw new Error('faults');
  const place = (word: number) => {
    const match = read.tree.lookup(addressOf(4, [word]));
    return match && read.placeOf(match.number);
  };
  t.equal(place(0xcb007107), 'x.cidr:3');
  t.equal(place(0x0a000001), 'x.cidr:4');
  t.equal(place(0), undefined);
});

function watchIn(t: Test): { readonly folder: string; readonly watch: FileWatch } {
  const watch = new FileWatch({ settleMs: 10 });
  t.teardown(() => watch.close());
  return { folder: t.testdir({}), watch };
}

t.test('a file may change, become faulty, go away and come back', async (t) => {
  const { folder, watch } = watchIn(t);
  const file = join(folder, 'x.cidr');
  await writeFile(file, '203.0.113.0/24\n');
  const { list, has, faults } = follow(t, new FileFeed(file, watch));
  await list.settled();
  t.ok(has('203.0.113.9'));
  await writeFile(`${file}.new`, '10.0.0.0/8\n');
  await rename(`${file}.new`, file);
  t.ok(await until(() => has('10.0.0.1') && !has('203.0.113.9')));
  await writeFile(file, '10.0.0.0/8\nnonsense\n');
  t.ok(await until(() => faults().length > 0));
  t.same(faults(), [`${file}:2:1: nonsense is not an address or a prefix`]);
  t.ok(has('10.0.0.1'));
  await rm(file);
  t.ok(await until(() => faults()[0]?.includes('ENOENT') === true));
  t.ok(has('10.0.0.1'), 'the last good list stays');
  await writeFile(file, '198.51.100.0/24\n');
  t.ok(await until(() => has('198.51.100.1') && list.isCurrent));
});

t.test('a file that is still being written is not read, since half a list is no list', async (t) => {
  const { folder, watch } = watchIn(t);
  const file = join(folder, 'x.cidr');
  await writeFile(file, '203.0.113.0/24\n10.0.0.0/8\n');
  const { list, has, changes } = follow(t, new FileFeed(file, watch));
  await list.settled();
  let lost = 0;
  let longestMs = 0;
  const looking = setInterval(() => {
    if (!has('10.0.0.1')) lost += 1;
  }, 1);
  for (let round = 0; round < 20; round++) {
    const fromMs = performance.now();
    const handle = await open(file, 'w');
    await handle.write('198.51.100.0/24\n');
    await new Promise((resolve) => setTimeout(resolve, 20));
    await handle.write('10.0.0.0/8\n');
    longestMs = Math.max(longestMs, performance.now() - fromMs);
    await handle.close();
    await new Promise((resolve) => setTimeout(resolve, 10 * (round % 5)));
  }
  t.ok(await until(() => has('198.51.100.1') && !has('203.0.113.9')));
  clearInterval(looking);
  // A writer that paused for as long as a file has to rest looks finished to anybody.
  t.ok(
    lost === 0 || longestMs > 150,
    `the list was gone in ${lost} looks, with a longest pause of ${longestMs} ms`,
  );
  t.ok(changes() >= 2);
});

t.test('an emptied file is believed after a second, since it may still be written', async (t) => {
  const { folder, watch } = watchIn(t);
  const file = join(folder, 'x.cidr');
  await writeFile(file, '10.0.0.0/8\n');
  const { list, has } = follow(t, new FileFeed(file, watch));
  await list.settled();
  t.ok(has('10.0.0.1'));
  const emptiedMs = Date.now();
  await writeFile(file, '');
  t.ok(await until(() => !has('10.0.0.1')), 'the empty file is believed in the end');
  // The time of a file is that of the last tick of the system.
  t.ok(Date.now() - emptiedMs >= 990, 'the empty file is not believed earlier');
});

t.test('an entry expires by itself at its time, and others stay', async (t) => {
  const { folder, watch } = watchIn(t);
  const file = join(folder, 'x.cidr');
  const soon = new Date(Date.now() + 400).toISOString();
  await writeFile(file, `203.0.113.7/32 until=${soon}\n203.0.113.0/29\n10.0.0.0/8 until=${soon}\n`);
  const { list, has, size } = follow(t, new FileFeed(file, watch));
  await list.settled();
  t.equal(size(), 3);
  t.ok(has('10.0.0.1'));
  t.ok(await until(() => !has('10.0.0.1')));
  t.ok(Date.now() >= Date.parse(soon));
  t.ok(has('203.0.113.7'), 'the wider entry still covers it');
  t.equal(size(), 1);
});

t.test('a folder, a loop of links and a file that is too large are faults', async (t) => {
  const { folder, watch } = watchIn(t);
  await symlink(join(folder, 'b'), join(folder, 'a'));
  await symlink(join(folder, 'a'), join(folder, 'b'));
  const large = join(folder, 'large');
  await writeFile(large, Buffer.alloc(65 * MIB, '#'));
  for (const [file, reason] of [
    [folder, /EISDIR/],
    [join(folder, 'a'), /ELOOP/],
    [large, /larger than/],
  ] as const) {
    const { list, faults, size } = follow(t, new FileFeed(file, watch));
    await list.settled();
    t.match(faults(), [reason]);
    t.equal(size(), undefined);
  }
});

t.test('a hundred thousand prefixes are built without blocking the event loop for long', async (t) => {
  const { folder } = watchIn(t);
  const file = join(folder, 'x.cidr');
  const lines = Array.from({ length: 100_000 }, (_, index) => `10.${(index >> 8) & 255}.${index & 255}.0/24`);
  await writeFile(file, lines.join('\n'));
  let turns = 0;
  const turn = setInterval(() => {
    turns += 1;
  }, 1);
  const { list, size } = follow(t, new FileFeed(file));
  await list.settled();
  clearInterval(turn);
  t.equal(size(), 65_536);
  t.ok(turns >= 5, `the event loop turned ${turns} times meanwhile`);
});
