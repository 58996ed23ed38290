/** A repeated head means what it would on a fresh connection, compared with readers without a past. */
import t from 'tap';
import { isDenial } from '../../gateway/core/denial.ts';
import { HeadReader, type RawHead } from '../../gateway/http1/head-reader.ts';
import { LastHead } from '../../gateway/http1/last-head.ts';
import { Llhttp } from '../../gateway/http1/llhttp.ts';
import { readRequest } from '../../gateway/http1/request.ts';
import { readResponse } from '../../gateway/http1/response.ts';
import { SeededRandom } from '../patch/seeded-random.ts';

const llhttp = new Llhttp();
const limits = { headBytes: 16384, headFields: 50 };
const STEPS = 2000;

const requests = [
  'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n',
  'HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n',
  'GET / HTTP/1.0\r\nHost: a.test\r\n\r\n',
  'GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n',
  'PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n',
  'PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n',
  'PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n\r\n',
  `GET / HTTP/1.1\r\nHost: a.test\r\nX: ${'x'.repeat(3000)}\r\n\r\n`,
];
const responses = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
];

function read(reader: HeadReader, text: string, cut: number): RawHead {
  const bytes = Buffer.from(text, 'latin1');
  const first = reader.read(bytes.subarray(0, cut), 0);
  const progress = first.kind === 'more' ? reader.read(bytes, cut) : first;
  if (progress.kind !== 'head') throw new Error(`no head: ${text}`);
  return progress.head;
}

/** Freezes the value, so that changing a remembered head throws a TypeError. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const each of Object.values(value)) frozen(each);
  return Object.freeze(value);
}

t.test('requests in any order, whole or cut, are judged as if each were the first', async (t) => {
  const random = new SeededRandom(12);
  const reader = new HeadReader(llhttp, 'request', limits);
  const memory = new LastHead(readRequest);
  let again = 0;
  let before: unknown;
  for (let step = 0; step < STEPS; step++) {
    const text = requests[random.below(requests.length)] ?? '';
    const fresh = new HeadReader(llhttp, 'request', limits);
    const expected = read(fresh, text, text.length);
    fresh.close();
    const raw = frozen(read(reader, text, random.below(2) === 0 ? text.length : random.below(text.length)));
    const found = frozen(memory.find(raw, raw.method));
    if (found === before) again += 1;
    before = found;
    t.same(found, readRequest(expected), text);
    t.equal(isDenial(found), text.includes('gzip'));
  }
  t.ok(again > 20, `enough heads came again: ${again}`);
  reader.close();
});

t.test('answers are judged by the request they answer, whatever was asked before', async (t) => {
  const random = new SeededRandom(13);
  const reader = new HeadReader(llhttp, 'response', limits);
  const memory = new LastHead(readResponse);
  for (let step = 0; step < STEPS; step++) {
    const text = responses[random.below(responses.length)] ?? '';
    const method = ['GET', 'HEAD', 'PUT'][random.below(3)] ?? '';
    const raw = frozen(read(reader, text, text.length));
    t.same(frozen(memory.find(raw, method)), readResponse(raw, method), `${method}: ${text}`);
  }
  reader.close();
});
