/** Exactly one spelling of IPv4, all of IPv6, and nothing that two parsers could read as different addresses. */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import t from 'tap';
import { parseAddress, parsePrefix } from '../../gateway/core/address.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const canonical: readonly (readonly [text: string, canonical: string])[] = [
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['203.0.113.5', '203.0.113.5'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ['::1.2.3.4', '::102:304'],
  ['2002:0102:0304::', '2002:102:304::'],
  ['::ffff:10.0.0.5', '10.0.0.5'],
  ['::FFFF:0a00:0005', '10.0.0.5'],
  ['0:0:0:0:0:ffff:255.255.255.255', '255.255.255.255'],
  ['1111:2222:3333:4444:5555:6666:123.123.123.123', '1111:2222:3333:4444:5555:6666:7b7b:7b7b'],
];

const refused = [
  ...['', ' ', '1', '127.1', '10.0.1', '1.2.3.4.5', '1.2.3.', '.1.2.3', '1..2.3', '256.0.0.1', '1.2.3.999'],
  ...[
    '010.0.0.1',
    '00.0.0.0',
    '0x7f.0.0.1',
    '0x7f000001',
    '2130706433',
    '017700000001',
    '+1.2.3.4',
    '-1.2.3.4',
  ],
  ...[
    '1.2.3.4 ',
    ' 1.2.3.4',
    '1.2.3.4\xa0',
    '１.2.3.4',
    '1.2.3.4\0',
    '1.2.3.4:80',
    '[1.2.3.4]',
    '1.2.3.4/32',
  ],
  ...['1e1.0.0.0', '1.2.3.4.', 'localhost', 'unknown', '10000.10000.10000.10000'],
  ...[':', ':::', '::1::', '1::2::3', ':1', '1:', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8::'],
  ...[
    '::12345',
    '::g',
    'fe80::1%eth0',
    '[::1]',
    '[::1',
    '::1]',
    '::1/128',
    'fe:::80',
    '::1.2.3',
    '::1.2.3.256',
  ],
  ...[
    '::01.2.3.4',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '::1.2.3.4::',
    '1:2:3:4:5:6:7:1.2.3.4',
    '::ffff:1.2.3.4.5',
    ':1.2.3.4',
  ],
  `::${'0'.repeat(60)}1`,
];

t.test('every spelling of an address has one canonical text', async (t) => {
  for (const [text, expected] of canonical) {
    t.equal(parseAddress(text)?.text, expected, text);
    t.same(
      parseAddress(expected)?.words,
      parseAddress(text)?.words,
      `${text} and its canonical text are the same address`,
    );
  }
});

t.test('anything that is not exactly an address is refused', async (t) => {
  for (const text of refused) t.equal(parseAddress(text), undefined, JSON.stringify(text));
});

t.test('words hold the bits of an address, most significant first', async (t) => {
  t.match(parseAddress('192.0.2.1'), { family: 4, words: [0xc0000201], text: '192.0.2.1' });
  t.same(parseAddress('2001:db8::8000:1')?.words, [0x20010db8, 0, 0, 0x80000001]);
});

function randomSpelling(random: SeededRandom): string {
  const alphabet = random.next() < 0.5 ? '0123456789..' : '0123456789abcdfF::::..%[]x';
  const start = ['', '::', '1.2.3.', '::ffff:', '2001:db8:'][random.below(5)] ?? '';
  const length = random.below(16);
  return start + Array.from({ length }, () => alphabet[random.below(alphabet.length)]).join('');
}

/** Zone ids are the one form that the system accepts and we refuse. */
const oracle = (text: string): boolean => isIP(text) !== 0 && !text.includes('%');

t.test('random spellings are accepted exactly where the system accepts them', async (t) => {
  const random = new SeededRandom(1);
  let accepted = 0;
  for (let i = 0; i < 100_000; i++) {
    const text = randomSpelling(random);
    const address = parseAddress(text);
    if ((address !== undefined) !== oracle(text)) t.fail(`${JSON.stringify(text)} is judged differently`);
    if (address === undefined) continue;
    accepted += 1;
    // ipaddr.js takes this form for IPv4-mapped; the table above covers it.
    if (/^::[0-9.]*$/.test(text)) continue;
    const other = ipaddr.process(text);
    if (address.text !== (other instanceof ipaddr.IPv6 ? other.toRFC5952String() : other.toString()))
      t.fail(`${text} is read as ${address.text}`);
  }
  t.ok(accepted > 1000, `enough random spellings were addresses: ${accepted}`);
});

/** All texts of one to `most` characters of an alphabet. */
function* textsOf(alphabet: string, most: number): Iterable<string> {
  let texts = [''];
  for (let length = 1; length <= most; length++) {
    texts = texts.flatMap((text) => [...alphabet].map((character) => text + character));
    yield* texts;
  }
}

t.test('any text in place of an octet or a group is judged as the system does', async (t) => {
  const octets = [...textsOf('0125689./:a', 4)];
  const groups = [...textsOf('0:.9fFg', 5)];
  const places = [
    ...[0, 1, 2, 3].map((place) => ({
      among: ['1', '20', '255', '9'],
      place,
      separator: '.',
      texts: octets,
    })),
    ...[0, 3, 6, 7].map((place) => ({
      among: ['1', '2', '3', '4444', '5', '6', '7', '8'],
      place,
      separator: ':',
      texts: groups,
    })),
    ...[0, 1, 3].map((place) => ({ among: ['', '', '1', '2001'], place, separator: ':', texts: groups })),
  ];
  let accepted = 0;
  for (const { among, place, separator, texts } of places) {
    for (const each of texts) {
      const text = among.with(place, each).join(separator);
      const isAddress = parseAddress(text) !== undefined;
      if (isAddress !== oracle(text)) t.fail(`${JSON.stringify(text)} is judged differently`);
      if (isAddress) accepted += 1;
    }
  }
  t.ok(accepted > 1000, `enough texts were addresses: ${accepted}`);
});

t.test('random IPv6 groups survive writing and reading', async (t) => {
  const random = new SeededRandom(2);
  for (let i = 0; i < 20_000; i++) {
    const groups = Array.from({ length: 8 }, () => (random.next() < 0.5 ? 0 : random.below(65536)));
    const expected = new ipaddr.IPv6(groups);
    const address = parseAddress(groups.map((group) => group.toString(16)).join(':'));
    const text = expected.isIPv4MappedAddress()
      ? expected.toIPv4Address().toString()
      : expected.toRFC5952String();
    if (address?.text !== text) t.fail(`${address?.text} is not ${text}`);
    if (parseAddress(text)?.text !== text) t.fail(`${text} does not read back`);
  }
});

t.test('a prefix is read into canonical form', async (t) => {
  t.match(parsePrefix('10.0.0.0/8'), { bits: 8, text: '10.0.0.0/8', address: { words: [0x0a000000] } });
  t.match(parsePrefix('0.0.0.0/0'), { bits: 0, text: '0.0.0.0/0' });
  t.match(parsePrefix('2001:DB8::/32'), { bits: 32, text: '2001:db8::/32' });
  t.match(parsePrefix('::/0'), { bits: 0, address: { family: 6 } });
  t.match(
    parsePrefix('198.51.100.7'),
    { bits: 32, text: '198.51.100.7/32' },
    'an address is a prefix that holds only itself',
  );
  t.match(parsePrefix('::1'), { bits: 128, text: '::1/128' });
  t.match(parsePrefix('::ffff:10.0.0.0/104'), { bits: 8, text: '10.0.0.0/8', address: { family: 4 } });
});

t.test('an ambiguous prefix is refused, and the message names the right one', async (t) => {
  t.match(parsePrefix('10.1.2.3/8'), /host bits set: the prefix is 10\.0\.0\.0\/8$/);
  t.match(parsePrefix('2001:db8::1/33'), /the prefix is 2001:db8::\/33$/);
  t.match(parsePrefix('255.255.255.255/0'), /the prefix is 0\.0\.0\.0\/0$/);
  for (const text of [
    '10/8',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/+8',
    '10.0.0.0/8/8',
  ]) {
    t.type(parsePrefix(text), 'string', text);
  }
  for (const text of [
    '::ffff:0.0.0.0/95',
    '010.0.0.0/8',
    '10.0.0.0 /8',
    '10.0.0.0/255.0.0.0',
    '/8',
    '',
    'all',
  ]) {
    t.type(parsePrefix(text), 'string', text);
  }
});
