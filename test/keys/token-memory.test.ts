/** A verified token is remembered by its exact text, for a while, among a bounded number of others. */
import t from 'tap';
import { createTokenMemory, type VerifiedToken } from '../../gateway/keys/token-memory.ts';

const token = (expMs: number): VerifiedToken => ({
  issuer: 'main',
  subject: 'worker',
  grants: [],
  keysVersion: 1,
  maxEpochs: 100,
  expMs,
  nbfMs: 0,
  claims: {},
});

t.test('a token is found by its exact text', async (t) => {
  const memory = createTokenMemory();
  const known = token(10_000);
  memory.put('a.b.c', known, 0);
  t.equal(memory.get('a.b.c', 1), known);
  for (const text of ['', 'a.b', 'a.b.C', 'a.b.c ', 'A.b.c']) t.equal(memory.get(text, 1), undefined);
});

t.test('of two texts that end alike, the last is found and the other is not taken for it', async (t) => {
  const memory = createTokenMemory();
  const [one, two] = [token(10_000), token(10_000)];
  const end = 'x'.repeat(100);
  memory.put(`one${end}`, one, 0);
  t.equal(memory.get(`one${end}`, 1), one);
  t.equal(memory.get(`two${end}`, 1), undefined);
  memory.put(`two${end}`, two, 0);
  t.equal(memory.get(`two${end}`, 1), two);
  t.equal(memory.get(`one${end}`, 1), undefined);
  t.equal(memory.size, 1);
});

t.test('a token is forgotten when it expires', async (t) => {
  const memory = createTokenMemory();
  memory.put('a', token(10_000), 0);
  t.ok(memory.get('a', 9999));
  t.equal(memory.get('a', 10_000), undefined);
  t.equal(memory.size, 0);
});

t.test('a token is forgotten after five minutes, however long it lives', async (t) => {
  const memory = createTokenMemory();
  memory.put('a', token(Number.MAX_SAFE_INTEGER), 1000);
  t.ok(memory.get('a', 300_999));
  t.equal(memory.get('a', 301_000), undefined);
});

t.test('the oldest token is evicted, and one put again counts as the newest', async (t) => {
  const memory = createTokenMemory(3);
  const live = token(10_000);
  for (const text of ['a', 'b', 'a', 'c']) memory.put(text, live, 0);
  t.equal(memory.size, 3);
  memory.put('d', live, 0);
  t.equal(memory.size, 3);
  t.equal(memory.get('b', 1), undefined);
  t.ok(memory.get('a', 1));
  t.ok(memory.get('c', 1));
});
