/** The server name is read from hellos of every shape, and hostile ones give a fault and nothing else. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { connect } from 'node:tls';
import t from 'tap';
import { canonicalServerName, MAX_HELLO_BYTES, readServerName } from '../../gateway/edge/client-hello.ts';

const be16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const be24 = (value: number): Buffer => Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);
const sized = (body: Buffer): Buffer => Buffer.concat([be16(body.length), body]);
const extension = (type: number, body: Buffer): Buffer => Buffer.concat([be16(type), sized(body)]);
const entry = (type: number, name: string): Buffer =>
  Buffer.concat([Buffer.from([type]), sized(Buffer.from(name, 'latin1'))]);
const serverName = (...entries: Buffer[]): Buffer => extension(0, sized(Buffer.concat(entries)));

interface Parts {
  readonly sessionId?: Buffer;
  readonly suites?: Buffer;
  readonly compression?: Buffer;
  /** Absent for a hello that ends before its extensions. */
  readonly extensions?: readonly Buffer[];
  readonly tail?: Buffer;
}

function hello(parts: Parts): Buffer {
  const sessionId = parts.sessionId ?? Buffer.alloc(32);
  const compression = parts.compression ?? Buffer.from([0]);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([sessionId.length]),
    sessionId,
    sized(parts.suites ?? Buffer.from([0x13, 0x01, 0x13, 0x02])),
    Buffer.from([compression.length]),
    compression,
    ...(parts.extensions === undefined ? [] : [sized(Buffer.concat(parts.extensions))]),
    parts.tail ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([Buffer.from([1]), be24(body.length), body]);
}

/** The message in records of at most `size` bytes. */
function records(message: Buffer, size = 16_384): Buffer {
  const made: Buffer[] = [];
  for (let at = 0; at < message.length; at += size)
    made.push(Buffer.from([22, 3, 1]), sized(message.subarray(at, at + size)));
  return Buffer.concat(made);
}

const ordinary = hello({
  extensions: [extension(10, Buffer.alloc(8)), serverName(entry(0, 'A.example.com'))],
});

/** A small seeded generator (mulberry32), so that a failure can be reproduced. */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

t.test('the name is returned as it was sent', async (t) => {
  t.same(readServerName(records(ordinary)), { kind: 'name', name: 'A.example.com' });
});

t.test('the name is found however the hello is cut into records', async (t) => {
  for (let size = Math.ceil(ordinary.length / 64); size <= ordinary.length; size += 1)
    t.same(
      readServerName(records(ordinary, size)),
      { kind: 'name', name: 'A.example.com' },
      `the name is found in records of ${size} bytes`,
    );
});

t.test('a hello that does not fit in 64 records is refused with the last of them', async (t) => {
  t.match(readServerName(records(ordinary.subarray(0, 63), 1)), { kind: 'more' });
  t.match(readServerName(records(ordinary.subarray(0, 64), 1)), {
    kind: 'fault',
    reason: 'the ClientHello is in too many records',
  });
});

t.test('every beginning of a hello asks for more bytes, and never for more than are to come', async (t) => {
  const bytes = records(ordinary, 50);
  for (let length = 0; length < bytes.length; length += 1) {
    const progress = readServerName(bytes.subarray(0, length));
    if (progress.kind !== 'more') t.fail(`${length} bytes must ask for more, but give: ${progress.kind}`);
    else
      t.ok(
        progress.neededBytes > length && progress.neededBytes <= bytes.length,
        `${length} bytes ask for no more than are to come`,
      );
  }
});

t.test('bytes behind the hello are left alone', async (t) => {
  const bytes = Buffer.concat([records(ordinary), Buffer.from('anything')]);
  t.same(readServerName(bytes), { kind: 'name', name: 'A.example.com' });
});

t.test('a hello without a server name has none', async (t) => {
  const none = { kind: 'name', name: undefined };
  t.same(readServerName(records(hello({}))), none, 'a hello without extensions has no name');
  t.same(
    readServerName(records(hello({ extensions: [] }))),
    none,
    'a hello with an empty list of extensions has no name',
  );
  t.same(
    readServerName(records(hello({ extensions: [extension(10, Buffer.alloc(4))] }))),
    none,
    'a hello with other extensions has no name',
  );
});

const name = serverName(entry(0, 'a.example.com'));
const faults: readonly (readonly [string, Buffer])[] = [
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
  ['an SSLv2 hello', Buffer.from([0x80, 0x2e, 1, 3, 1])],
  ['an alert first', Buffer.from([21, 3, 3, 0, 2, 2, 40])],
  ['a record of another major version', Buffer.from([22, 2, 0, 0, 4])],
  ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
  ['a record over 2^14 bytes', Buffer.from([22, 3, 1, 0x40, 1])],
  [
    'another record type in the middle',
    Buffer.concat([records(ordinary.subarray(0, 20)), Buffer.from([23])]),
  ],
  ['a message that is no ClientHello', records(Buffer.from([2, 0, 0, 4, 0, 0, 0, 0]))],
  ['a hello announced over 16 KiB', records(Buffer.from([1, 0, 0x40, 0, 0, 0, 0, 0]))],
  ['a hello announced at 16 MiB', records(Buffer.from([1, 255, 255, 255]))],
  ['a hello of no bytes', records(Buffer.from([1, 0, 0, 0]))],
  ['a session id over 32 bytes', records(hello({ sessionId: Buffer.alloc(33), extensions: [name] }))],
  ['an empty list of cipher suites', records(hello({ suites: Buffer.alloc(0), extensions: [name] }))],
  ['half a cipher suite', records(hello({ suites: Buffer.alloc(3), extensions: [name] }))],
  [
    'an empty list of compression methods',
    records(hello({ compression: Buffer.alloc(0), extensions: [name] })),
  ],
  ['bytes behind the extensions', records(hello({ extensions: [name], tail: Buffer.from([0]) }))],
  ['one byte in place of extensions', records(hello({ tail: Buffer.from([0]) }))],
  ['an extension longer than its list', records(hello({ extensions: [Buffer.from([0, 10, 0, 9, 0])] }))],
  ['half an extension', records(hello({ extensions: [name, Buffer.from([0, 10, 0])] }))],
  ['two server_name extensions', records(hello({ extensions: [name, name] }))],
  ['an empty server_name', records(hello({ extensions: [extension(0, Buffer.alloc(0))] }))],
  ['an empty list of names', records(hello({ extensions: [serverName()] }))],
  ['an empty name', records(hello({ extensions: [serverName(entry(0, ''))] }))],
  ['two names', records(hello({ extensions: [serverName(entry(0, 'a.test'), entry(0, 'b.test'))] }))],
  ['a name of another type', records(hello({ extensions: [serverName(entry(1, 'a.test'))] }))],
  [
    'a name and one of another type',
    records(hello({ extensions: [serverName(entry(0, 'a'), entry(1, 'b'))] })),
  ],
  [
    'a list shorter than its extension',
    records(
      hello({ extensions: [extension(0, Buffer.concat([sized(entry(0, 'a.test')), Buffer.alloc(1)]))] }),
    ),
  ],
  [
    'a list longer than its extension',
    records(hello({ extensions: [extension(0, Buffer.from([0, 9, 0]))] })),
  ],
  [
    'a name longer than its list',
    records(hello({ extensions: [extension(0, sized(Buffer.from([0, 0, 9, 97])))] })),
  ],
];

for (const [what, bytes] of faults) {
  t.test(`the reader refuses ${what}`, async (t) => {
    t.equal(readServerName(bytes).kind, 'fault');
  });
}

t.test('a hello may fill the limit, counting its records, but not exceed it', async (t) => {
  const padded = (bytes: number): Buffer => {
    const bare = records(hello({ extensions: [name, extension(21, Buffer.alloc(0))] })).length;
    return records(hello({ extensions: [name, extension(21, Buffer.alloc(bytes - bare))] }));
  };
  t.equal(padded(MAX_HELLO_BYTES).length, MAX_HELLO_BYTES);
  t.equal(readServerName(padded(MAX_HELLO_BYTES)).kind, 'name');
  t.equal(readServerName(padded(MAX_HELLO_BYTES + 1)).kind, 'fault');
  t.equal(readServerName(records(hello({ extensions: [name] }).subarray(0, 9), 1)).kind, 'more');
});

t.test('flipped bits and lying lengths never throw and never ask for more than the limit', async (t) => {
  const random = seeded(20_826);
  const original = records(ordinary, 60);
  for (let round = 0; round < 40_000; round += 1) {
    const bytes = Buffer.from(original);
    const flips = 1 + Math.floor(random() * 4);
    for (let i = 0; i < flips; i += 1)
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    const progress = readServerName(bytes.subarray(0, Math.floor(random() * (bytes.length + 1))));
    if (progress.kind === 'more' && progress.neededBytes > MAX_HELLO_BYTES) t.fail(bytes.toString('hex'));
    if (progress.kind === 'name' && (progress.name?.length ?? 1) === 0) t.fail(bytes.toString('hex'));
  }
  t.pass('40,000 mutated hellos were read');
});

async function realHello(options: { servername?: string; ALPNProtocols?: string[] }): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const client = connect({ port: address.port, host: '127.0.0.1', ...options });
  client.on('error', () => undefined);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const [bytes] = (await once(accepted, 'data')) as [Buffer];
  client.destroy();
  accepted.destroy();
  server.close();
  return bytes;
}

t.test('the name is read from the hello of a real client', async (t) => {
  const bytes = await realHello({ servername: 'tenant-a.example.com', ALPNProtocols: ['h2', 'http/1.1'] });
  t.same(readServerName(bytes), { kind: 'name', name: 'tenant-a.example.com' });
  t.same(readServerName(await realHello({})), { kind: 'name', name: undefined });
});

const canonical: readonly (readonly [string, string | undefined])[] = [
  ['a.example.com', 'a.example.com'],
  ['A.Example.COM', 'a.example.com'],
  ['a.example.com.', 'a.example.com'],
  ['localhost', 'localhost'],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['1password.com', '1password.com'],
  ['a1', 'a1'],
  [`${'a'.repeat(63)}.com`, `${'a'.repeat(63)}.com`],
  [`${'a'.repeat(64)}.com`, undefined],
  [`${'abc.'.repeat(62)}abcde`, `${'abc.'.repeat(62)}abcde`],
  [`${'abc.'.repeat(62)}abcdef`, undefined],
  ['', undefined],
  ['.', undefined],
  ['a.example.com..', undefined],
  ['.example.com', undefined],
  ['a..com', undefined],
  ['a\0.example.com', undefined],
  ['a.example.com\0', undefined],
  ['a.example.com\n', undefined],
  ['a_b.example.com', undefined],
  ['-a.example.com', undefined],
  ['a-.example.com', undefined],
  ['*.example.com', undefined],
  ['b\u00fccher.example', undefined],
  // The Kelvin sign becomes k in lower case.
  ['\u212aevin.example', undefined],
  ['a.example.com:443', undefined],
  ['a/b', undefined],
  ['127.0.0.1', undefined],
  ['127.1', undefined],
  ['2130706433', undefined],
  ['::1', undefined],
  ['[::1]', undefined],
];

t.test('a server name has one spelling, and text that is not a host name is refused', async (t) => {
  for (const [raw, expected] of canonical) t.equal(canonicalServerName(raw), expected, JSON.stringify(raw));
});
