/** A request head either means the same to everybody or is refused. */
import t from 'tap';
import { isDenial, statusOf } from '../../gateway/core/denial.ts';
import type { RequestHead } from '../../gateway/core/facts.ts';
import { HeadReader } from '../../gateway/http1/head-reader.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import { headDenial, readRequest } from '../../gateway/http1/request.ts';

const llhttp = new Llhttp();

function judge(text: string): RequestHead | number {
  const reader = new HeadReader(llhttp, 'request', { headBytes: 16384, headFields: 50 });
  const progress = reader.read(Buffer.from(text, 'latin1'), 0);
  reader.close();
  if (progress.kind === 'more') throw new Error('the head is not whole');
  const head = progress.kind === 'fault' ? headDenial(progress) : readRequest(progress.head);
  return isDenial(head) ? statusOf(head) : head;
}

const get = (fields: string, target = '/a') => `GET ${target} HTTP/1.1\r\n${fields}\r\n\r\n`;
const put = (fields: string) => `PUT /a HTTP/1.1\r\nHost: a.test\r\n${fields}\r\n\r\n`;

t.test('a plain request keeps its bytes and gets its meaning', async (t) => {
  t.match(judge('PUT /a/B%20?q=%2e#x HTTP/1.1\r\nHost: a\r\n\r\n'), 400, 'a fragment is refused');
  t.match(judge('PUT /a/B%20?q=%2e HTTP/1.1\r\nHost: A.Test.:8443\r\nContent-Length: 7\r\n\r\n'), {
    method: 'PUT',
    target: '/a/B%20?q=%2e',
    path: '/a/B%20',
    host: 'a.test',
    authority: 'A.Test.:8443',
    minor: 1,
    framing: { kind: 'length', length: 7 },
    keepAlive: true,
    expectsContinue: false,
  });
  t.match(judge(get('Host: a.test', 'https://A.TEST/x?y')), { target: '/x?y', path: '/x', host: 'a.test' });
  t.match(judge(get('Host: a.test', 'http://a.test?y')), { target: '/?y', path: '/' });
  t.match(judge(put('Transfer-Encoding: Chunked')), { framing: { kind: 'chunked' } });
  t.match(judge(put('Content-Length: 0\r\nExpect: 100-continue')), {
    framing: { kind: 'none' },
    expectsContinue: false,
  });
  t.match(judge(put('Content-Length: 1\r\nExpect: 100-Continue')), { expectsContinue: true });
});

t.test('persistence is the default in HTTP/1.1 and must be asked for in 1.0', async (t) => {
  const at = (minor: number, connection: string) =>
    judge(`GET / HTTP/1.${minor}\r\nHost: a\r\n${connection}\r\n`);
  t.match(at(1, ''), { keepAlive: true });
  t.match(at(1, 'Connection: x, Close\r\n'), { keepAlive: false });
  t.match(at(0, ''), { keepAlive: false });
  t.match(at(0, 'Connection: keep-alive\r\n'), { keepAlive: true });
  t.match(at(0, 'Connection: keep-alive, close\r\n'), { keepAlive: false });
});

const refused: readonly (readonly [why: string, text: string, status: number])[] = [
  ['no Host', get('A: b'), 400],
  ['no Host in HTTP/1.0', 'GET / HTTP/1.0\r\nA: b\r\n\r\n', 400],
  ['two Hosts', get('Host: a\r\nHost: a'), 400],
  ['an empty Host', get('Host:'), 400],
  ['a Host with a path', get('Host: a/b'), 400],
  ['a Host with a user', get('Host: u@a'), 400],
  ['a Host with a comma', get('Host: a, b'), 400],
  ['a Host with a port out of range', get('Host: a:70000'), 400],
  ['a Host with an underscore', get('Host: a_b'), 400],
  ['an absolute target of another host', get('Host: a', 'https://b/'), 400],
  ['an absolute target of another port', get('Host: a', 'https://a:1/'), 400],
  ['an absolute target of another scheme', get('Host: a', 'ftp://a/'), 400],
  ['a target without slash', get('Host: a', 'a'), 400],
  ['CONNECT', 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n', 405],
  ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n', 405],
  ['a field name with underscore', get('Host: a\r\nX_Forwarded_For: b'), 400],
  ['a field name with a dot', get('Host: a\r\nX.Y: b'), 400],
  ['a DEL in a value', get('Host: a\r\nA: b\x7f'), 400],
  ['two Authorizations', get('Host: a\r\nAuthorization: a\r\nauthorization: b'), 400],
  ['two Content-Types', put('Content-Type: a\r\nContent-Type: b'), 400],
  ['a length with leading zeros', put('Content-Length: 01'), 400],
  ['a length beyond the safe integers', put('Content-Length: 9007199254740993'), 400],
  ['a hexadecimal length', put('Content-Length: 0x10'), 400],
  ['an unknown coding', put('Transfer-Encoding: gzip'), 501],
  ['a coding that is nearly chunked', put('Transfer-Encoding: xchunked'), 501],
  ['chunked before another coding', put('Transfer-Encoding: chunked , gzip'), 400],
  ['chunked twice in a list', put('Transfer-Encoding: gzip, chunked, chunked'), 400],
  ['a list of codings with an empty member', put('Transfer-Encoding: gzip,'), 400],
  ['an unknown coding with a parameter', put('Transfer-Encoding: gzip;a=b'), 400],
  ['an unknown coding beside a length', put('Transfer-Encoding: gzip\r\nContent-Length: 2'), 400],
  ['an unknown coding in HTTP/1.0', 'PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', 400],
  ['a coding before chunked', put('Transfer-Encoding: gzip, chunked'), 501],
  ['chunked twice', put('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked'), 400],
  ['chunked with a parameter', put('Transfer-Encoding: chunked;a=b'), 400],
  ['an empty coding', put('Transfer-Encoding:'), 400],
  ['a coding in HTTP/1.0', 'PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
  ['another expectation', put('Expect: tea'), 417],
  ['an expectation beside 100-continue', put('Expect: 100-continue, tea'), 417],
  ['a dot segment', get('Host: a', '/a/../b'), 400],
  ['an encoded dot segment', get('Host: a', '/a/%2e%2E/b'), 400],
  ['an empty segment', get('Host: a', '/a//b'), 400],
  ['a backslash', get('Host: a', '/a\\b'), 400],
  ['a bad escape', get('Host: a', '/a%zz'), 400],
  ['a byte beyond ASCII in the target', get('Host: a', '/\xe9'), 400],
  ['a target that is too long', get('Host: a', `/${'a'.repeat(9000)}`), 414],
  ['too many fields', get(`Host: a\r\n${'A: b\r\n'.repeat(60)}A: b`), 431],
  ['HTTP/0.9', 'GET / HTTP/0.9\r\nHost: a\r\n\r\n', 400],
];

t.test('whatever can be read in two ways is refused', async (t) => {
  for (const [why, text, status] of refused) t.equal(judge(text), status, why);
});
