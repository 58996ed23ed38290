/** Only public keys verify, only the one a token names, and the last good ones stay while the issuer is down. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CompactSign, exportJWK, generateKeyPair, type JWK } from 'jose';
import t, { type Test } from 'tap';
import { type KeySet, RemoteKeySet, type RemoteKeySettings } from '../../gateway/policy/key-set.ts';
import { fileKeys as readFileKeys } from './file-keys.ts';

const folder = new URL('../../../shared/vectors/wycheproof/', import.meta.url);
const ASYMMETRIC = ['ES256', 'ES384', 'ES512', 'EdDSA', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];

interface Signer {
  readonly jwk: JWK;
  sign(header?: Readonly<Record<string, unknown>>): Promise<string>;
}

async function signer(kid: string, alg = 'ES256'): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  const sign = (header = {}) =>
    new CompactSign(Buffer.from('{}')).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
  return { jwk, sign };
}

const setOf = (...keys: readonly JWK[]) => JSON.stringify({ keys });

async function fileKeys(text: string): Promise<KeySet> {
  const keys = await readFileKeys(text);
  if (typeof keys === 'string') throw new Error(keys);
  return keys;
}

t.test('a signature holds under the key it names, with an algorithm that is offered', async (t) => {
  for (const alg of ['ES256', 'EdDSA', 'PS256']) {
    const a = await signer('a', alg);
    const b = await signer('b', alg);
    const keys = await fileKeys(setOf(a.jwk, b.jwk));
    t.same(await keys.verify(await a.sign(), [alg]), { kind: 'verified', version: keys.version }, alg);
    t.match(
      await keys.verify(await a.sign({ kid: 'b' }), [alg]),
      { kind: 'refused', unknownKey: false },
      'another key',
    );
    t.match(
      await keys.verify(await a.sign({ kid: 'A' }), [alg]),
      { kind: 'refused', unknownKey: true },
      'no such key',
    );
    t.match(await keys.verify(await a.sign({ kid: undefined }), [alg]), { kind: 'refused' }, 'ambiguous');
    t.match(await keys.verify(await a.sign(), ['RS256']), { kind: 'refused' }, 'not offered');
    t.match(await keys.verify(await a.sign(), []), { kind: 'refused' }, 'nothing offered');
  }
});

t.test('what is no token is refused, whatever jose throws', async (t) => {
  const a = await signer('a');
  const keys = await fileKeys(setOf(a.jwk));
  const deep = Buffer.from(`${'['.repeat(100_000)}`).toString('base64url');
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`;
  for (const jws of ['', '.', '..', 'a.b.c', 'a.b.c.d', `${deep}.e30.AA`, none, `${await a.sign()}.x`]) {
    t.match(await keys.verify(jws, ['ES256']), { kind: 'refused' });
  }
  t.match(await keys.verify(none, ['none']), { kind: 'refused' }, 'none is never offered');
});

t.test('no symmetric algorithm is offered, even where the policy names one', async (t) => {
  const a = await signer('a');
  const secret = Buffer.from(JSON.stringify(a.jwk));
  const forged = await new CompactSign(Buffer.from('{}'))
    .setProtectedHeader({ alg: 'HS256', kid: 'a' })
    .sign(secret);
  t.match(await (await fileKeys(setOf(a.jwk))).verify(forged, ['HS256', 'ES256']), { kind: 'refused' });
});

t.test('a set that should not be published is refused', async (t) => {
  const { jwk } = await signer('a');
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  t.match(await readFileKeys(setOf(jwk, jwk)), /two keys have the kid a/);
  t.match(await readFileKeys(setOf({ ...(await exportJWK(privateKey)), kid: 'p' })), /private or symmetric/);
  t.match(await readFileKeys(setOf({ kty: 'oct', k: 'c2VjcmV0' })), /private or symmetric/);
  t.match(await readFileKeys(setOf(jwk, { kty: 'EC', crv: 'P-256', d: '' })), /private or symmetric/);
  t.match(await readFileKeys(setOf()), /no key/);
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: 'AQ', e: 'AQ' })), /exponent 1$/);
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: 'AQ', e: 'AQAA' })), /exponent 65536$/);
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: 'AQ' })), /lacks n or e/);
  const power = Buffer.from((65537n ** 120n).toString(16).padStart(482, '0'), 'hex').toString('base64url');
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: power, e: 'AQAB' })), /broken generator/);
  t.match(await readFileKeys('{"keys":[{"kid":"a"}]}'), /kty/);
  t.match(await readFileKeys('{"keys":[{"kty":"EC","kid":7}]}'), /kid/);
  for (const text of ['', '{', '[]', 'null', '{"keys":{}}', '{"keys":[1]}', '{"keys":[null]}']) {
    t.match(await readFileKeys(text), /not a JSON Web Key Set/, text);
  }
});

/** An issuer that answers as it is told, and a clock that stands until it is moved. */
class Issuer {
  answer: RequestListener = (_, response) => response.writeHead(500).end();
  requests = 0;
  nowMs = 0;
  changes = 0;
  readonly faults: (string | undefined)[] = [];
  readonly #server = createServer((request, response) => {
    this.requests += 1;
    this.answer(request, response);
  });

  async start(more: Partial<RemoteKeySettings> = {}): Promise<RemoteKeySet> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const { port } = this.#server.address() as AddressInfo;
    return new RemoteKeySet(new URL(`http://127.0.0.1:${port}/jwks.json`), {
      refreshMs: 600_000,
      keepMs: 86_400_000,
      ...more,
      now: () => this.nowMs,
      onFetch: (fault) => this.faults.push(fault),
      onChange: () => {
        this.changes += 1;
      },
    });
  }

  publish(...keys: readonly JWK[]): void {
    this.answer = (_, response) => response.end(setOf(...keys));
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

async function withIssuer(
  run: (issuer: Issuer, keys: RemoteKeySet) => Promise<void>,
  more: Partial<RemoteKeySettings> = {},
): Promise<void> {
  const issuer = new Issuer();
  const keys = await issuer.start(more);
  try {
    await run(issuer, keys);
  } finally {
    keys.close();
    issuer.stop();
  }
}

const verified = (version: number) => ({ kind: 'verified', version }) as const;

t.test('many first tokens cause one fetch', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    const jws = await a.sign();
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => keys.verify(jws, ['ES256'])));
    for (const verdict of verdicts) t.same(verdict, verified(1));
    t.equal(issuer.requests, 1);
  });
});

t.test('keys are fetched before the first request when warmed', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    t.match(await keys.fetch(), /500/);
    t.match(await keys.verify(await a.sign(), ['ES256']), { kind: 'unavailable', cause: /500/ });
    t.equal(issuer.requests, 1, 'not at once again');
    issuer.publish(a.jwk);
    t.equal(await keys.fetch(), undefined);
    t.same(await keys.verify(await a.sign(), ['ES256']), verified(1));
    t.equal(issuer.requests, 2);
    t.match(issuer.faults, [/500/, undefined]);
  });
});

t.test('without keys the issuer is asked again after five seconds', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    const jws = await a.sign();
    t.match(await keys.verify(jws, ['ES256']), { kind: 'unavailable' });
    issuer.publish(a.jwk);
    issuer.nowMs = 4999;
    t.match(await keys.verify(jws, ['ES256']), { kind: 'unavailable' });
    issuer.nowMs = 5000;
    t.same(await keys.verify(jws, ['ES256']), verified(1));
  });
});

t.test('an unknown kid causes a fetch, but not more often than every thirty seconds', async (t) => {
  const [a, b, c] = [await signer('a'), await signer('b'), await signer('c')];
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    await keys.fetch();
    issuer.publish(a.jwk, b.jwk);
    t.match(await keys.verify(await b.sign(), ['ES256']), { kind: 'refused', unknownKey: true });
    issuer.nowMs = 30_000;
    t.same(await keys.verify(await b.sign(), ['ES256']), verified(2));
    t.equal(issuer.requests, 2);
    for (let i = 0; i < 5; i++) t.match(await keys.verify(await c.sign(), ['ES256']), { kind: 'refused' });
    t.equal(issuer.requests, 2);
    t.match(await keys.verify(await a.sign({ alg: 'ES256' }), ['ES256']), verified(2));
  });
});

t.test('a wrong signature causes no fetch', async (t) => {
  const [a, b] = [await signer('a'), await signer('a')];
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    await keys.fetch();
    issuer.nowMs = 60_000;
    t.match(await keys.verify(await b.sign(), ['ES256']), { kind: 'refused', unknownKey: false });
    t.equal(issuer.requests, 1);
  });
});

/** Lets a fetch in the background come to its end. */
async function fetched(issuer: Issuer, count: number): Promise<void> {
  while (issuer.faults.length < count) await new Promise((resolve) => setImmediate(resolve));
}

t.test('keys ten minutes old are renewed behind the request, very old ones before it', async (t) => {
  const [a, b] = [await signer('a'), await signer('b')];
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    await keys.fetch();
    issuer.publish(b.jwk);
    issuer.nowMs = 599_999;
    t.same(await keys.verify(await a.sign(), ['ES256']), verified(1));
    t.equal(issuer.requests, 1);
    issuer.nowMs = 600_000;
    t.same(await keys.verify(await a.sign(), ['ES256']), verified(1), 'the request does not wait');
    await fetched(issuer, 2);
    t.equal(keys.version, 2);
    t.match(await keys.verify(await a.sign(), ['ES256']), { kind: 'refused' }, 'a key taken back is gone');
    issuer.publish(a.jwk);
    issuer.nowMs += 1_200_001;
    t.same(await keys.verify(await a.sign(), ['ES256']), verified(3), 'the request waits');
  });
});

t.test('the same keys again are no new version', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    await keys.fetch();
    await keys.fetch();
    t.equal(issuer.requests, 2);
    t.equal(keys.version, 1);
  });
});

t.test('the last good keys stay while the issuer fails, in whatever way', async (t) => {
  const a = await signer('a');
  const jws = await a.sign();
  const ways: readonly (readonly [name: string, answer: RequestListener])[] = [
    ['an error', (_, response) => response.writeHead(503).end()],
    ['a redirect', (_, response) => response.writeHead(302, { location: '/other' }).end()],
    ['no JSON', (_, response) => response.end('<html>')],
    ['private keys', (_, response) => response.end(setOf({ ...a.jwk, d: 'AA' }))],
    ['two keys of one kid', (_, response) => response.end(setOf(a.jwk, a.jwk))],
    ['too many bytes', (_, response) => response.end(setOf(a.jwk) + ' '.repeat(1 << 20))],
    ['a broken connection', (request) => request.socket.destroy()],
  ];
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    await keys.fetch();
    for (const [name, answer] of ways) {
      issuer.answer = answer;
      issuer.nowMs += 2_000_000;
      t.same(await keys.verify(jws, ['ES256']), verified(1), name);
      t.type(issuer.faults.at(-1), 'string', name);
    }
    t.equal(issuer.requests, 1 + ways.length, 'no redirect was followed');
  });
});

t.test('keys nobody could confirm for too long are none, and that is told', async (t) => {
  const a = await signer('a');
  await withIssuer(
    async (issuer, keys) => {
      issuer.publish(a.jwk);
      await keys.fetch();
      t.equal(issuer.changes, 1);
      issuer.answer = (_, response) => response.writeHead(503).end();
      issuer.nowMs = 3_599_999;
      t.same(await keys.verify(await a.sign(), ['ES256'], false), verified(1));
      issuer.nowMs = 3_600_000;
      t.match(await keys.verify(await a.sign(), ['ES256'], false), { kind: 'unavailable' });
      t.equal(keys.version, 0, 'what was verified before is not believed either');
      t.match(await keys.fetch(), /503/);
      t.equal(issuer.changes, 2);
      issuer.publish(a.jwk);
      await keys.fetch();
      t.same(await keys.verify(await a.sign(), ['ES256']), verified(1), 'the same keys again');
      t.equal(issuer.changes, 3);
    },
    { keepMs: 3_600_000 },
  );
});

t.test('an issuer that never answers is given up, and nobody waits for longer', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    issuer.answer = () => undefined;
    const jws = await a.sign();
    const verdicts = await Promise.all([keys.verify(jws, ['ES256']), keys.verify(jws, ['ES256'])]);
    for (const verdict of verdicts) t.match(verdict, { kind: 'unavailable', cause: /TimeoutError/ });
    t.equal(issuer.requests, 1);
  });
});

t.test('where nothing may be fetched the keys at hand have to do', async (t) => {
  const [a, b] = [await signer('a'), await signer('b')];
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk, b.jwk);
    t.match(await keys.verify(await a.sign(), ['ES256'], false), { kind: 'unavailable' });
    issuer.publish(a.jwk);
    await keys.fetch();
    issuer.nowMs = 60_000;
    t.match(await keys.verify(await b.sign(), ['ES256'], false), { kind: 'refused', unknownKey: true });
    t.equal(issuer.requests, 1);
  });
});

t.test('followed keys are fetched on a clock, and sooner while that fails', async (t) => {
  const a = await signer('a');
  const issuer = new Issuer();
  const keys = await issuer.start({ refreshMs: 40 });
  t.teardown(() => {
    keys.close();
    issuer.stop();
  });
  issuer.publish(a.jwk);
  keys.follow();
  await fetched(issuer, 4);
  t.same(issuer.faults.slice(0, 4), [undefined, undefined, undefined, undefined]);
  t.equal(keys.version, 1);
  keys.close();
  const { requests } = issuer;
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(issuer.requests, requests, 'not once it is closed');
});

interface Group {
  readonly comment: string;
  readonly public?: JWK & { readonly keys?: readonly JWK[] };
  readonly private?: JWK & { readonly keys?: readonly JWK[] };
  readonly tests: readonly { readonly tcId: number; readonly jws: string; readonly result: string }[];
}

/** The algorithm a vector's header names, if it has a header that can be read. */
function algorithmOf(jws: string): unknown {
  try {
    return JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString()).alg;
  } catch {
    return undefined;
  }
}

/** A key is for the algorithm it says (RFC 8725 §3.1), which the vectors leave open. */
function isOffered(jws: string, { alg }: JWK): boolean {
  const named = String(algorithmOf(jws));
  return ASYMMETRIC.includes(named) && (alg === undefined || alg === named);
}

/** How many tokens of a group were accepted; all of them that should be, and no other. */
async function tryGroup(t: Test, { public: shown, private: hidden, comment, tests }: Group): Promise<number> {
  const given = shown ?? hidden ?? {};
  const keys = await readFileKeys(JSON.stringify(given.keys === undefined ? { keys: [given] } : given));
  let accepted = 0;
  for (const { tcId, jws, result } of tests) {
    const verdict = typeof keys === 'string' ? undefined : await keys.verify(jws, ASYMMETRIC);
    const expected = result === 'valid' && isOffered(jws, given);
    const holds = verdict?.kind === 'verified';
    if (holds) accepted += 1;
    if (holds !== expected) t.fail(`${comment} ${tcId} is ${result}: ${JSON.stringify(verdict ?? keys)}`);
  }
  return accepted;
}

t.test('Wycheproof', { skip: existsSync(folder) ? false : 'no outside vectors here' }, async (t) => {
  let accepted = 0;
  for (const file of ['json_web_signature_test.json', 'json_web_key_test.json']) {
    const { testGroups }: { testGroups: Group[] } = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    for (const group of testGroups) accepted += await tryGroup(t, group);
  }
  t.ok(accepted > 30, `${accepted} were accepted`);
});
