/** The response head of a node is held to the same rules as the request of a caller. */
import t from 'tap';
import { HeadReader } from '../../gateway/http1/head-reader.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import { type ResponseHead, readResponse } from '../../gateway/http1/response.ts';

const llhttp = new Llhttp();

function judge(text: string, method = 'GET'): ResponseHead | 'refused' {
  const reader = new HeadReader(llhttp, 'response', { headBytes: 16384, headFields: 50 });
  const progress = reader.read(Buffer.from(text, 'latin1'), 0);
  reader.close();
  if (progress.kind !== 'head') return 'refused';
  const head = readResponse(progress.head, method);
  return typeof head === 'string' ? 'refused' : head;
}

t.test('the framing follows RFC 9112 §6.3', async (t) => {
  const ok = (fields: string) => `HTTP/1.1 200 OK\r\n${fields}\r\n`;
  t.match(judge(ok('Content-Length: 5\r\n')), { framing: { kind: 'length', length: 5 }, keepAlive: true });
  t.match(judge(ok('Content-Length: 0\r\n')), { framing: { kind: 'none' }, declaredLength: 0 });
  t.match(judge(ok('Transfer-Encoding: chunked\r\n')), { framing: { kind: 'chunked' } });
  t.match(judge(ok('')), { framing: { kind: 'close' }, keepAlive: false });
  t.match(judge(ok('Content-Length: 5\r\n'), 'HEAD'), { framing: { kind: 'none' }, declaredLength: 5 });
  t.match(judge('HTTP/1.1 204 No Content\r\n\r\n'), { framing: { kind: 'none' } });
  t.match(judge('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n'), { framing: { kind: 'none' } });
  t.match(judge('HTTP/1.1 304 Not Modified\r\n\r\n'), { framing: { kind: 'none' } });
  t.match(judge('HTTP/1.1 100 Continue\r\n\r\n'), { status: 100, framing: { kind: 'none' } });
  t.match(judge('HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n'), { keepAlive: false });
  t.match(judge(ok('Content-Length: 1\r\nConnection: Close\r\n')), { keepAlive: false });
});

const refused: readonly (readonly [why: string, text: string])[] = [
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
  ['the same length twice', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n'],
  ['length and coding', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'],
  ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n'],
  ['a length of a 204', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n'],
  ['chunks of a 204', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a length of a 1xx', 'HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n'],
  ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 1\n\n'],
  ['a control byte', 'HTTP/1.1 200 OK\r\nA: b\x01\r\nContent-Length: 1\r\n\r\n'],
  ['another protocol', 'HTTP/2 200 OK\r\n\r\n'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
  ['a field with underscore', 'HTTP/1.1 200 OK\r\nA_b: c\r\nContent-Length: 1\r\n\r\n'],
  ['no HTTP at all', 'SSH-2.0-x\r\n\r\n'],
];

t.test('a head that can be read in two ways is refused', async (t) => {
  for (const [why, text] of refused) t.equal(judge(text), 'refused', why);
});
