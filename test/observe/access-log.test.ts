/** One request is one line and one object, whatever the values hold; a failing disk costs lines, not requests. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { ConnectionFacts } from '../../gateway/core/facts.ts';
import {
  type AccessEntry,
  AccessLines,
  accessKeys,
  mostBytes,
  writeLine,
} from '../../gateway/observe/access-entry.ts';
import { createAccessLog } from '../../gateway/observe/access-log.ts';
import { address, certificate } from '../checks/situation.ts';

const connection: ConnectionFacts = {
  listener: 'edge',
  serverName: 'a.test',
  peer: address('203.0.113.5'),
  peerPort: 7,
  tlsVersion: 'TLSv1.3',
  tlsResumed: false,
  certificate: { status: 'absent' },
};

const lines = new AccessLines();
const formatAccessLine = (each: AccessEntry): string => {
  const pieces = lines.pieces(each);
  const target = Buffer.alloc(mostBytes(pieces) + 1);
  return target.toString('utf8', 1, writeLine(pieces, target, 1));
};

const entry: AccessEntry = {
  connection,
  timeMs: 0,
  requestId: 'r',
  status: 200,
  durationMs: 1.23456,
  bytesIn: 0,
  bytesOut: 7,
};

t.test('a line has the keys of the contract in order and omits what is not known', async (t) => {
  const line = formatAccessLine({ ...entry, tenant: 'tenant-a', path: '/v1/x?token=secret' });
  t.equal(
    line,
    '{"time":"1970-01-01T00:00:00.000Z","request.id":"r","listener":"edge","server.address":"a.test",' +
      '"network.peer.address":"203.0.113.5","network.peer.port":7,"tls.protocol.version":"TLSv1.3","tls.resumed":false,' +
      '"tenant":"tenant-a","url.path":"/v1/x","http.response.status_code":200,"duration_ms":1.235,"bytes_in":0,"bytes_out":7}\n',
  );
});

t.test('every key of the contract can occur in a line, in order', async (t) => {
  const words = Object.fromEntries(
    ['tenant', 'route', 'clientAddress', 'method', 'path', 'modelId', 'node', 'decisionStep', 'denialCode']
      .concat('denialRule', 'shadowStep', 'shadowCode', 'cause', 'endedBy')
      .map((name) => [name, 'x']),
  );
  const full = formatAccessLine({
    ...entry,
    ...words,
    connection: { ...connection, certificate },
    token: { subject: 's', jti: 'j', logged: '{"scope":"read"}' },
    policyGeneration: 1,
  });
  t.same(Object.keys(JSON.parse(full)), ['time', ...Object.values(accessKeys)]);
  t.same(JSON.parse(full)['token.claims'], { scope: 'read' });
});

t.test('times are those of their entries, within a second and beyond', async (t) => {
  for (const timeMs of [0, 7, 999, 1000, 1_796_126_400_123, 1_796_126_400_009, 1_796_126_401_000]) {
    t.equal(JSON.parse(formatAccessLine({ ...entry, timeMs })).time, new Date(timeMs).toISOString());
  }
});

t.test('no value can break out of its line or reach a terminal', async (t) => {
  const values = [
    'a\nb',
    'a\r\n{"time":"x"}',
    '"',
    '\\',
    '\u001b[2J',
    '\u0085',
    '\u2028',
    '\u007f',
    '\ud800',
    'é',
    '\0',
  ];
  for (const [index, value] of values.entries()) {
    const line = formatAccessLine({ ...entry, token: { subject: value }, cause: value });
    t.equal(line.indexOf('\n'), line.length - 1, `the line of value ${index} has one line end`);
    t.notOk(
      /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(line.slice(0, -1)),
      `the line of value ${index} holds no control character`,
    );
    t.ok(JSON.parse(line)['token.sub'] === value, `value ${index} can be read back`);
  }
  const long = JSON.parse(formatAccessLine({ ...entry, path: `/${'a'.repeat(9000)}` }));
  t.equal(long['url.path'].length, 2048);
});

t.test('lines are appended in order, and none is lost by closing', async (t) => {
  const folder = t.testdir({ 'access.log': 'before\n' });
  const file = join(folder, 'access.log');
  const log = createAccessLog({ file });
  for (let count = 0; count < 5000; count += 1) log.write({ ...entry, requestId: String(count) });
  await log.close();
  log.write(entry);
  const [first, ...lines] = readFileSync(file, 'utf8').trimEnd().split('\n');
  t.equal(first, 'before');
  t.same(
    lines.map((line) => Number(JSON.parse(line)['request.id'])),
    Array.from({ length: 5000 }, (_, count) => count),
  );
  t.equal(log.dropped, 1, 'the line after closing is dropped');
});

t.test('a line longer than a batch is written completely, and so are its neighbours', async (t) => {
  const file = join(t.testdir({}), 'access.log');
  const log = createAccessLog({ file });
  const long = '\u0001'.repeat(2048);
  const subject = { subject: long, jti: long, logged: JSON.stringify({ scope: 'x'.repeat(60_000) }) };
  log.write({ ...entry, requestId: 'before' });
  log.write({ ...entry, requestId: 'long', cause: long, token: subject });
  log.write({ ...entry, requestId: 'after' });
  await log.close();
  const written = readFileSync(file, 'utf8').trimEnd().split('\n');
  t.same(
    written.map((line) => JSON.parse(line)['request.id']),
    ['before', 'long', 'after'],
  );
});

t.test('a full disk is reported once, and lines beyond the bound are counted', async (t) => {
  const faults: string[] = [];
  const log = createAccessLog({
    file: '/dev/full',
    flushMs: 5,
    maxBufferedBytes: 100_000,
    onFault: (error) => faults.push(error.message),
  });
  for (let count = 0; count < 5000; count += 1) log.write(entry);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await log.close();
  t.equal(faults.length, 1);
  t.match(faults[0], /ENOSPC/);
  t.equal(log.dropped, 5000);
});

t.test('a file that cannot be opened prevents the start', async (t) => {
  t.throws(() => createAccessLog({ file: join(t.testdir({}), 'none', 'access.log') }), { code: 'ENOENT' });
});
