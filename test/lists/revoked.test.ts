/** Lists of revoked certificates and tokens: what an entry may be, when it expires, and where a bad one is. */
import t from 'tap';
import { isFaults, type ListReader } from '../../gateway/lists/live-list.ts';
import { type RevokedContents, revokedCertificates, revokedTokens } from '../../gateway/lists/revoked.ts';
import { runSliced } from '../../gateway/lists/run-sliced.ts';
import { entriesOf } from './revoked-names.ts';

const HEX = 'ab'.repeat(32);
const NOW_MS = Date.parse('2026-11-01T00:00:00Z');

async function read(reader: ListReader<RevokedContents>, text: string) {
  const contents = await runSliced(reader.text('x.txt', text, NOW_MS), () => true);
  if (contents === undefined) throw new Error('not read');
  if (isFaults(contents)) return contents.map(({ line, column, problem }) => `${line}:${column} ${problem}`);
  return { entries: entriesOf(contents), nextEndMs: contents.nextEndMs };
}

t.test('tokens are revoked by id, by subject and by certificate', async (t) => {
  const text = `# lost laptops
jti:4711
  sub:worker-7   # the whole machine
jti:a#b/c?d=e
SHA256:${HEX.toUpperCase()}

`;
  t.same(await read(revokedTokens, text), {
    entries: {
      'jti:4711': 'x.txt:2',
      'sub:worker-7': 'x.txt:3',
      'jti:a#b/c?d=e': 'x.txt:4',
      [`sha256:${HEX}`]: 'x.txt:5',
    },
    nextEndMs: undefined,
  });
});

t.test('comments end with their lines, whatever the line end', async (t) => {
  const text = '# lost\r\njti:a # why\r\njti:b\t#\r\n#\r\njti:c#d\r\n';
  const entries = { 'jti:a': 'x.txt:2', 'jti:b': 'x.txt:3', 'jti:c#d': 'x.txt:5' };
  t.match(await read(revokedTokens, text), { entries });
  t.same(
    await read(revokedTokens, 'jti:a # why\rjti:b\r\n'),
    ['1:1 unknown option # why\rjti:b, expected until=…'],
    'text after a comment is not lost in it',
  );
});

t.test('eight million characters that might begin a comment are scanned only once', async (t) => {
  const faults = ['1:2 the line is too long for a token'];
  t.same(await read(revokedTokens, `${' #'.repeat(4_000_000)}\r1`), faults);
  t.same(await read(revokedTokens, ` jti:a ${'b'.repeat(8_000_000)}`), faults);
  t.match(await read(revokedTokens, `jti:a${' #'.repeat(4_000_000)}`), { entries: { 'jti:a': 'x.txt:1' } });
});

t.test('a name with blanks, or anything else, is written as JSON writes it', async (t) => {
  const text = [
    'sub:"John Doe"',
    'jti:"a \\"b\\" # \\\\" until=2026-12-01T00:00:00Z # why',
    '  sub:"\\u00fc\\n"\t# a comment "with quotes"',
    'sub:"plain"',
    'jti:a"b"',
  ];
  t.same(await read(revokedTokens, text.join('\r\n')), {
    entries: {
      'sub:John Doe': 'x.txt:1',
      'jti:a "b" # \\': 'x.txt:2',
      'sub:ü\n': 'x.txt:3',
      'sub:plain': 'x.txt:4',
      'jti:a"b"': 'x.txt:5',
    },
    nextEndMs: Date.parse('2026-12-01T00:00:00Z'),
  });
  const bad = [
    'sub:""',
    'sub:"',
    'sub:"a',
    'sub:"a"b',
    'sub:"a"#',
    'sub:"\\x"',
    'sub:"\\ud800"',
    'sha256:"ab"',
  ];
  for (const text of bad) t.same(await read(revokedTokens, text), [`1:1 ${text} does not name a token`]);
  t.same(await read(revokedTokens, 'sub:"a b" c'), ['1:1 unknown option c, expected until=…']);
  t.same(
    await read(revokedTokens, 'sub:"John\tDoe"'),
    ['1:1 sub:"John\tDoe" does not name a token'],
    'no JSON',
  );
});

t.test('whatever a token may be called can be named', async (t) => {
  for (const name of ['x'.repeat(6000), 'ü ✓ "'.repeat(1000), '\u0001'.repeat(6000)]) {
    const contents = await runSliced(
      revokedTokens.text('x', `sub:${JSON.stringify(name)}`, NOW_MS),
      () => true,
    );
    if (contents === undefined || isFaults(contents)) t.fail(`${name.slice(0, 10)} cannot be named`);
    else t.ok(contents.names.has(`sub:${name}`));
  }
  const [fault] = (await read(revokedTokens, `sub:"${'x'.repeat(9000)}"`)) as readonly string[];
  t.match(fault, /^1:1 sub:"x{500,600} does not name a token$/);
  const started = 'the line is too long for a token';
  for (const start of ['sub:"', 'sub:"a" ', 'sub:"\\', '"'])
    t.match(await read(revokedTokens, `${start}${'x'.repeat(8_000_000)}`), [`1:1 ${started}`]);
});

t.test('an entry may expire', async (t) => {
  const text =
    'jti:a until=2026-12-01T00:00:00Z # then it has expired\njti:b until=2026-10-01T00:00:00Z\nserial:1';
  t.same(await read(revokedTokens, text.replace('serial:1', 'jti:c')), {
    entries: { 'jti:a': 'x.txt:1', 'jti:c': 'x.txt:3' },
    nextEndMs: Date.parse('2026-12-01T00:00:00Z'),
  });
  t.match(await read(revokedCertificates, 'serial:1 until=2026-12-01T00:00:00Z'), {
    entries: { 'serial:1': 'x.txt:1' },
  });
});

t.test('an invalid entry is a fault with its place', async (t) => {
  const bad = ['4711', 'jti:', 'kid:1', 'serial:12', `sha256:${HEX.slice(2)}`, 'JTI:x'];
  for (const text of bad)
    t.same(await read(revokedTokens, `jti:ok\n  ${text}\n`), [`2:3 ${text} does not name a token`]);
  t.same(await read(revokedTokens, 'jti:a b'), ['1:1 unknown option b, expected until=…']);
  t.same(await read(revokedTokens, 'jti:a until=tomorrow'), [
    '1:1 tomorrow is not a time like 2026-12-01T00:00:00Z',
  ]);
  t.same(await read(revokedCertificates, 'jti:a'), ['1:1 jti:a does not name a certificate']);
  const many = await read(revokedTokens, 'x\n'.repeat(100_000));
  t.equal(Array.isArray(many) && many.length, 20, 'the number of faults is bounded');
});

t.test('entries may have keys of their own', async (t) => {
  const entries = new Map([
    ['a', 'jti:1'],
    ['b', 'nobody'],
  ]);
  const contents = await runSliced(revokedTokens.keyed('redis x', entries, NOW_MS), () => true);
  t.match(contents, [{ file: 'redis x b', problem: 'nobody does not name a token' }]);
});
