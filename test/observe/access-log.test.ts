/** One line a request, one object a line, whatever the values hold; and a disk that fails costs lines, not requests. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type AccessEntry, formatAccessLine } from '../../gateway/observe/access-entry.ts';
import { createAccessLog } from '../../gateway/observe/access-log.ts';

const entry: AccessEntry = {
  timeMs: 0,
  requestId: 'r',
  status: 200,
  durationMs: 1.23456,
  bytesIn: 0,
  bytesOut: 7,
};

t.test('a line has the keys of the contract in their order, and none for what is not known', async (t) => {
  const line = formatAccessLine({
    ...entry,
    tenant: 'tenant-a',
    path: '/v1/x?token=secret',
    tlsResumed: false,
  });
  t.equal(
    line,
    '{"time":"1970-01-01T00:00:00.000Z","request.id":"r","tenant":"tenant-a","url.path":"/v1/x",' +
      '"http.response.status_code":200,"duration_ms":1.235,"bytes_in":0,"bytes_out":7,"tls.resumed":false}\n',
  );
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
    const line = formatAccessLine({ ...entry, tokenSubject: value, cause: value });
    t.equal(line.indexOf('\n'), line.length - 1, `value ${index}`);
    t.notOk(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(line.slice(0, -1)), `value ${index} is text`);
    t.ok(JSON.parse(line)['token.sub'] === value, `value ${index} comes back`);
  }
  const long = JSON.parse(formatAccessLine({ ...entry, path: `/${'a'.repeat(9000)}` }));
  t.equal(long['url.path'].length, 2048);
});

t.test('lines are appended, in order, and none is lost by closing', async (t) => {
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
  t.equal(log.dropped, 1, 'the one that came too late');
});

t.test('a full disk is told once, and lines beyond the bound are counted', async (t) => {
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

t.test('a file that cannot be opened is a broken start', async (t) => {
  t.throws(() => createAccessLog({ file: join(t.testdir({}), 'none', 'access.log') }), { code: 'ENOENT' });
});
