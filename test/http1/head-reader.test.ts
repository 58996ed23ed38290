/** Heads are read the same however they are cut, within their limits, and no loose syntax passes. */

import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { type HeadProgress, HeadReader } from '../../gateway/http1/head-reader.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';

const llhttp = new Llhttp();
const limits = { headBytes: 2048, headFields: 10 };

function readAll(text: string, pieceBytes: number): HeadProgress {
  const reader = new HeadReader(llhttp, 'request', limits);
  t.teardown(() => reader.close());
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const progress = reader.read(bytes.subarray(at, at + pieceBytes), 0);
    if (progress.kind !== 'more') return progress;
  }
  return { kind: 'more' };
}

t.test('a head reads the same in one piece and byte by byte', async (t) => {
  const text = 'PUT /a/b?c=d HTTP/1.1\r\nHost: x\r\nEmpty:\r\nSpaced: \t two  words \t \r\nObs: \xe9\r\n\r\n';
  for (const pieceBytes of [1, 2, 3, 7, text.length]) {
    const progress = readAll(text, pieceBytes);
    t.match(
      progress,
      {
        kind: 'head',
        head: {
          method: 'PUT',
          target: '/a/b?c=d',
          major: 1,
          minor: 1,
          fields: ['Host', 'x', 'Empty', '', 'Spaced', 'two  words', 'Obs', '\xe9'],
        },
      },
      `the head is the same in pieces of ${pieceBytes}`,
    );
  }
});

t.test('blanks inside a value are scanned once, however many there are', async (t) => {
  const reader = new HeadReader(llhttp, 'request', { ...limits, headBytes: 5_000_000 });
  t.teardown(() => reader.close());
  const value = `a${' '.repeat(4_000_000)}b`;
  const progress = reader.read(Buffer.from(`GET / HTTP/1.1\r\nA: ${value} \r\n\r\n`), 0);
  t.equal(progress.kind, 'head');
  if (progress.kind === 'head') t.ok(progress.head.fields[1] === value);
});

t.test('a CR without its LF is found wherever the pieces are cut', async (t) => {
  for (const text of [
    'GET / HTTP/1.1\r\nA: b\rc\r\n\r\n',
    'GET / HTTP/1.1\rA: b\r\n\r\n',
    '\r\r\nGET / HTTP/1.1\r\n\r\n',
  ])
    for (const pieceBytes of [1, 2, 3, text.length])
      t.match(
        readAll(text, pieceBytes),
        { kind: 'fault', rule: 'syntax' },
        `${JSON.stringify(text)} is a fault in pieces of ${pieceBytes}`,
      );
  for (const pieceBytes of [1, 2, 3])
    t.match(readAll('\r\n\r\nGET / HTTP/1.1\r\n\r\n', pieceBytes), { kind: 'head' });
});

t.test('a head of line ends that arrive two bytes at a time is scanned once', async (t) => {
  const reader = new HeadReader(llhttp, 'request', { ...limits, headBytes: 4_000_000 });
  t.teardown(() => reader.close());
  const bytes = Buffer.from(`${'\r\n'.repeat(500_000)}GET / HTTP/1.1\r\n\r\n`);
  let progress = reader.read(bytes.subarray(0, 2), 0);
  for (let at = 2; at < bytes.length; at += 2) progress = reader.read(bytes.subarray(at, at + 2), 0);
  t.equal(progress.kind, 'head');
});

t.test('the offset behind a head is where the next head begins', async (t) => {
  const reader = new HeadReader(llhttp, 'request', limits);
  const bytes = Buffer.from('GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET');
  const first = reader.read(bytes, 0);
  t.match(first, { kind: 'head', head: { target: '/1' }, end: 19 });
  t.match(reader.read(bytes, 19), { kind: 'head', head: { target: '/2' }, end: 38 });
  t.match(reader.read(bytes, 38), { kind: 'more' });
  t.equal(reader.started, true);
  reader.close();
  reader.close();
});

t.test('from the second head on, only the same bytes give the same head object', async (t) => {
  const reader = new HeadReader(llhttp, 'request', limits);
  t.teardown(() => reader.close());
  const text = 'GET /1 HTTP/1.1\r\nHost: a\r\n\r\n';
  const read = (bytes: string): HeadProgress => reader.read(Buffer.from(bytes, 'latin1'), 0);
  const first = read(text);
  const second = read(text);
  const again = read(`${text}GET /2`);
  if (first.kind !== 'head' || second.kind !== 'head' || again.kind !== 'head') throw new Error('no heads');
  t.not(second.head, first.head);
  t.equal(again.head, second.head);
  t.equal(again.end, text.length);
  t.match(read(text.replace('/1', '/2')), { kind: 'head', head: { target: '/2' }, end: text.length });
  t.match(read(text), { kind: 'head', head: { target: '/1', fields: ['Host', 'a'] } });
  t.match(read(text.slice(0, -1)), { kind: 'more' }, 'a beginning of the same bytes is no head');
  t.match(read('\n'), { kind: 'head', head: { target: '/1' }, end: 1 });
  t.match(read(text.replace('Host: a', 'Host: \xe1')), { kind: 'head', head: { fields: ['Host', '\xe1'] } });
  t.match(read(text.slice(0, 10)), { kind: 'more' });
  t.match(
    read(text),
    { kind: 'fault', rule: 'syntax' },
    'the same bytes in the middle of another head are no head',
  );
});

t.test('after a long head the next one is read anew', async (t) => {
  const reader = new HeadReader(llhttp, 'request', { headBytes: 32_768, headFields: 10 });
  t.teardown(() => reader.close());
  const long = Buffer.from(`GET / HTTP/1.1\r\nA: ${'x'.repeat(3000)}\r\n\r\n`);
  reader.read(Buffer.from('GET / HTTP/1.1\r\n\r\n'), 0);
  const [first, again] = [reader.read(long, 0), reader.read(long, 0)];
  if (first.kind !== 'head' || again.kind !== 'head') throw new Error('no heads');
  t.not(again.head, first.head);
  t.strictSame(again.head, first.head);
});

t.test('each limit is named when it is exceeded', async (t) => {
  const long = 'x'.repeat(3000);
  t.match(readAll(`GET / HTTP/1.1\r\nA: ${long}\r\n\r\n`, 100), { kind: 'fault', rule: 'head-too-large' });
  t.match(readAll(`GET / HTTP/1.1\r\nA: ${long}`, 3100), { kind: 'fault', rule: 'head-too-large' });
  t.match(readAll(`GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(11)}\r\n`, 7), {
    kind: 'fault',
    rule: 'too-many-fields',
  });
  t.match(readAll(`GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(10)}\r\n`, 7), { kind: 'head' });
  t.match(
    readAll('\r\n'.repeat(2000), 64),
    { kind: 'fault', rule: 'head-too-large' },
    'empty lines count towards the limit',
  );
  const reader = new HeadReader(llhttp, 'request', { headBytes: MIB, headFields: 10 });
  t.match(reader.read(Buffer.from(`GET /${'a'.repeat(9000)}`), 0), {
    kind: 'fault',
    rule: 'target-too-long',
  });
  reader.close();
});

const loose: readonly (readonly [why: string, text: string])[] = [
  ['a bare LF', 'GET / HTTP/1.1\nHost: x\n\n'],
  ['a bare LF between fields', 'GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n'],
  ['a bare CR in a value', 'GET / HTTP/1.1\r\nHost: x\ry\r\n\r\n'],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'],
  ['obsolete folding', 'GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n'],
  ['a line with leading white space', 'GET / HTTP/1.1\r\n Host: x\r\n\r\n'],
  ['a line without colon', 'GET / HTTP/1.1\r\nHost\r\n\r\n'],
  ['two spaces before the target', 'GET  / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['two spaces behind the target', 'GET /  HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a tab in the request line', 'GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['HTTP/0.9', 'GET /\r\n\r\n'],
  ['HTTP/0.9 by name', 'GET / HTTP/0.9\r\n\r\n'],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: x\r\n\r\n'],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['a method in lower case', 'get / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an unknown method', 'BREW / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['NUL in a value', 'GET / HTTP/1.1\r\nHost: x\x00\r\n\r\n'],
  ['length and coding', 'PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['two lengths', 'PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n'],
  ['a list of lengths', 'PUT / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n'],
  ['an empty length', 'PUT / HTTP/1.1\r\nContent-Length:\r\n\r\n'],
  ['a signed length', 'PUT / HTTP/1.1\r\nContent-Length: +1\r\n\r\n'],
  ['TLS inside', '\x16\x03\x01\x02\x00\x01'],
];

t.test('loose syntax is a fault, in one piece and byte by byte', async (t) => {
  for (const [why, text] of loose) {
    for (const pieceBytes of [text.length, 1]) {
      const progress = readAll(text, pieceBytes);
      const passed = progress.kind === 'head' && progress.head.major === 1;
      t.equal(passed, false, `${why} is refused in pieces of ${pieceBytes}`);
      t.not(progress.kind, 'more', `${why} is not waited on, in pieces of ${pieceBytes}`);
    }
  }
});

t.test('ten thousand readers at once outgrow the first memory and still read', async (t) => {
  const readers = Array.from({ length: 10_000 }, () => new HeadReader(llhttp, 'request', limits));
  for (const reader of readers) reader.read(Buffer.from('GET / HT'), 0);
  const last = readers.map((reader) => reader.read(Buffer.from('TP/1.1\r\nHost: x\r\n\r\n'), 0).kind);
  t.equal(last.filter((kind) => kind === 'head').length, readers.length);
  for (const reader of readers) reader.close();
});
