/** PROXY headers are read strictly: a cut header waits for more, and a false or ambiguous one is a fault. */
import t from 'tap';
import { crc32c } from '../../gateway/core/crc32c.ts';
import { readProxyHeader } from '../../gateway/edge/proxy-header.ts';
import { SeededRandom } from '../patch/seeded-random.ts';
import { checksummed, extension, v1, v2 } from './proxy-headers.ts';

const REST = Buffer.from([0x16, 3, 1, 0, 5]);

t.test('crc32c gives the sums of the examples in RFC 3720 appendix B.4', async (t) => {
  t.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  t.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
  t.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, index) => index))), 0x46dd794e);
  t.equal(crc32c(Buffer.from('6789'), crc32c(Buffer.from('12345'))), 0xe3069283);
});

const HEADERS: readonly [string, Buffer, string | undefined][] = [
  ['version 1, IPv4', v1('203.0.113.7'), '203.0.113.7'],
  ['version 1, IPv6', v1('2001:db8::7'), '2001:db8::7'],
  ['version 1, IPv4-mapped', v1('::ffff:203.0.113.7'), '203.0.113.7'],
  ['version 2, IPv4', v2('203.0.113.7'), '203.0.113.7'],
  ['version 2, IPv6', v2('2001:db8::7'), '2001:db8::7'],
  [
    'version 2 with extensions',
    v2('203.0.113.7', { extensions: extension(4, Buffer.alloc(300)) }),
    '203.0.113.7',
  ],
  ['version 2 with a checksum', checksummed('203.0.113.7'), '203.0.113.7'],
  ['version 2 for the proxy itself', v2('203.0.113.7', { command: 0x20, family: 0 }), undefined],
];

for (const [title, header, expected] of HEADERS) {
  t.test(`a PROXY header of ${title} is read`, async (t) => {
    const found = readProxyHeader(Buffer.concat([header, REST]));
    t.match(found, { kind: 'header', bytes: header.length });
    t.equal(found.kind === 'header' ? found.source?.address.text : 'none', expected);
    if (expected !== undefined) t.match(found, { source: { port: 4711 } });
    const early = Array.from({ length: header.length }, (_, length) => length).filter((length) => {
      const progress = readProxyHeader(header.subarray(0, length));
      return (
        progress.kind !== 'more' || progress.neededBytes <= length || progress.neededBytes > header.length
      );
    });
    t.same(early, [], 'a header cut at any byte waits for no more than is to come');
  });
}

const line = (text: string): Buffer => Buffer.from(text, 'latin1');
const FAULTS: readonly [string, Buffer][] = [
  ['a connection of an unknown kind', line('PROXY UNKNOWN\r\n')],
  ['a connection of another kind', line('PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n')],
  ['no carriage return', line('PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n')],
  ['two spaces', line('PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n')],
  ['text behind the ports', line('PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n')],
  ['an octal address', line('PROXY TCP4 0203.0.113.7 192.0.2.1 1 2\r\n')],
  ['IPv6 that is announced as IPv4', line('PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n')],
  ['IPv4 that is announced as IPv6', line('PROXY TCP6 203.0.113.7 2001:db8::1 1 2\r\n')],
  ['a zone', line('PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n')],
  ['a port of six digits', line('PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n')],
  ['a port with a leading zero', line('PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n')],
  ['a line without an end', line(`PROXY TCP4 ${'1'.repeat(120)}`)],
  ['a protocol in lower case', line('PROXY tcp4 203.0.113.7 192.0.2.1 1 2\r\n')],
  ['version 1 in version 2', v2('203.0.113.7', { command: 0x11 })],
  ['an unknown command', v2('203.0.113.7', { command: 0x22 })],
  ['the family UNSPEC', v2('203.0.113.7', { family: 0x00 })],
  ['the family UNIX', v2('203.0.113.7', { family: 0x31 })],
  ['the family UDP', v2('203.0.113.7', { family: 0x12 })],
  ['a length too short for the addresses', v2('203.0.113.7', { length: 11 })],
  ['a length of nothing', v2('203.0.113.7', { length: 0 })],
  ['a length beyond all bounds', v2('203.0.113.7', { length: 65_535 })],
  ['an IPv6 family in the room of IPv4', v2('203.0.113.7', { family: 0x21 })],
  ['half an extension', v2('203.0.113.7', { extensions: Buffer.from([4, 0]) })],
  ['an extension that lies', v2('203.0.113.7', { extensions: Buffer.from([4, 0, 9, 1]) })],
  ['a wrong checksum', v2('203.0.113.7', { extensions: extension(3, Buffer.alloc(4)) })],
  ['a checksum of two bytes', v2('203.0.113.7', { extensions: extension(3, Buffer.alloc(2)) })],
];

for (const [title, bytes] of FAULTS) {
  t.test(`a PROXY header with ${title} is a fault`, async (t) => {
    t.match(readProxyHeader(bytes), { kind: 'fault', reason: /^PROXY header: / });
  });
}

t.test('a length that lies does not turn the bytes behind the header into extensions', async (t) => {
  const hello = Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
  const lying = v2('203.0.113.7', { length: 20 });
  t.match(readProxyHeader(Buffer.concat([lying, hello])), { kind: 'fault' });
});

t.test('a checksummed header with any flipped bit is never believed', async (t) => {
  const header = checksummed('203.0.113.7');
  const passed: number[] = [];
  for (let bit = 0; bit < header.length * 8; bit++) {
    const flipped = Buffer.from(header);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const found = readProxyHeader(flipped);
    // A header in which the proxy speaks for itself is one bit away; it carries no address that could be wrong.
    if (found.kind === 'header' && found.source !== undefined) passed.push(bit);
  }
  // One bit turns the type of the checksum into that of an unknown extension.
  const typeByte = header.length - 7;
  t.same([...new Set(passed.map((bit) => bit >> 3))], [typeByte]);
});

t.test('other bytes are no header, and random damage never yields one longer than its bytes', async (t) => {
  for (const bytes of [REST, line('GET / HTTP/1.1\r\n'), line('PROXX'), line('\r\n\r\nGET')]) {
    t.same(readProxyHeader(bytes), { kind: 'absent' });
  }
  const random = new SeededRandom(7);
  for (let round = 0; round < 20_000; round++) {
    const header = Buffer.from(round % 2 ? v1('203.0.113.7') : v2('203.0.113.7'));
    for (let flips = random.below(4); flips >= 0; flips--)
      header[random.below(header.length)] = random.below(256);
    const found = readProxyHeader(header.subarray(0, random.below(header.length + 1)));
    if (found.kind === 'header' && found.bytes > header.length) t.fail(header.toString('hex'));
  }
});
