/** Bodies are counted exactly: the same bytes come out however they are cut, and no doubt between chunks is tolerated. */
import t from 'tap';
import type { Framing } from '../../gateway/core/facts.ts';
import { bodyReader } from '../../gateway/http1/body-reader.ts';

interface Outcome {
  readonly body: string;
  readonly ended: number;
  readonly rest: string;
  readonly fault?: string;
}

function readAll(framing: Framing, text: string, pieceBytes: number): Outcome {
  const reader = bodyReader(framing);
  const bytes = Buffer.from(text, 'latin1');
  let body = '';
  let ended = 0;
  const sink = {
    onBody: (view: Buffer) => {
      body += view.toString('latin1');
    },
    onBodyEnd: () => {
      ended += 1;
    },
  };
  for (let at = 0; at < bytes.length && !reader.done; at += pieceBytes) {
    const piece = bytes.subarray(at, at + pieceBytes);
    const progress = reader.read(piece, 0, sink);
    if (typeof progress !== 'number') return { body, ended, rest: '', fault: progress.reason };
    if (reader.done) return { body, ended, rest: text.slice(at + progress) };
  }
  return { body, ended, rest: '' };
}

t.test('a counted body ends at its length and leaves the rest alone', async (t) => {
  for (const pieceBytes of [1, 3, 100]) {
    const outcome = readAll({ kind: 'length', length: 5 }, 'helloGET /', pieceBytes);
    t.same(
      outcome,
      { body: 'hello', ended: 1, rest: 'GET /' },
      `the body is the same in pieces of ${pieceBytes}`,
    );
  }
});

t.test('an absent body is done before it begins', async (t) => {
  t.equal(bodyReader({ kind: 'none' }).done, true);
});

t.test('a body without framing never ends by itself', async (t) => {
  t.same(readAll({ kind: 'close' }, 'abc', 2), { body: 'abc', ended: 0, rest: '' });
});

t.test('chunks are joined, and extensions and trailers are dropped', async (t) => {
  const text = '5\r\nhello\r\n1;a=b;c="d"\r\n \r\n05\r\nworld\r\n0\r\nTrailer-A: x\r\nB:\r\n\r\nGET /';
  for (let pieceBytes = 1; pieceBytes <= text.length; pieceBytes += 1) {
    t.same(
      readAll({ kind: 'chunked' }, text, pieceBytes),
      { body: 'hello world', ended: 1, rest: 'GET /' },
      `the body is the same in pieces of ${pieceBytes}`,
    );
  }
});

t.test('a chunk that fills the buffer is passed on as the same buffer', async (t) => {
  const reader = bodyReader({ kind: 'chunked' });
  const seen: Buffer[] = [];
  const sink = { onBody: (view: Buffer) => void seen.push(view), onBodyEnd: () => undefined };
  reader.read(Buffer.from('8\r\n'), 0, sink);
  const whole = Buffer.from('12345678');
  reader.read(whole, 0, sink);
  t.equal(seen[0], whole);
});

const broken: readonly (readonly [why: string, text: string])[] = [
  ['a missing size', '\r\nhello'],
  ['a size with a sign', '+5\r\nhello\r\n0\r\n\r\n'],
  ['a size with 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
  ['a size with a space before CR', '5 \r\nhello\r\n0\r\n\r\n'],
  ['a size with a leading space', ' 5\r\nhello\r\n0\r\n\r\n'],
  ['a size of more than twelve digits', '0000000000005\r\nhello\r\n0\r\n\r\n'],
  ['a huge size', 'ffffffffffffffff\r\nhello'],
  ['a bare LF behind the size', '5\nhello\r\n0\r\n\r\n'],
  ['a bare CR behind the size', '5\rhello\r\n0\r\n\r\n'],
  ['a bare LF in an extension', '5;a\nhello\r\n0\r\n\r\n'],
  ['a bare CR in an extension', '5;a\rb\r\nhello\r\n0\r\n\r\n'],
  ['a control byte in an extension', '5;a\x00b\r\nhello\r\n0\r\n\r\n'],
  ['data longer than its size', '5\r\nhelloX\r\n0\r\n\r\n'],
  ['data without CRLF', '5\r\nhello0\r\n\r\n'],
  ['data ended by a bare LF', '5\r\nhello\n0\r\n\r\n'],
  ['a last chunk ended by a bare LF', '0\r\n\n'],
  ['a trailer without colon', '0\r\nabc\r\n\r\n'],
  ['a folded trailer', '0\r\nA: b\r\n c\r\n\r\n'],
  ['a trailer name with underscore', '0\r\nA_b: c\r\n\r\n'],
  ['a trailer with a bare LF', '0\r\nA: b\n\r\n\r\n'],
  ['unbounded extensions', `5;${'a'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`],
  ['unbounded trailers', `0\r\n${'A: b\r\n'.repeat(5000)}\r\n`],
];

t.test('any irregularity between chunks is a fault, in one piece and byte by byte', async (t) => {
  for (const [why, text] of broken) {
    for (const pieceBytes of [1, text.length]) {
      const outcome = readAll({ kind: 'chunked' }, text, pieceBytes);
      t.type(outcome.fault, 'string', `${why} is a fault in pieces of ${pieceBytes}`);
      t.equal(outcome.ended, 0, `${why} ends no body`);
    }
  }
});
