/** Only public keys verify, and only the one that a token names. */

import { existsSync, readFileSync } from 'node:fs';
import { CompactSign, exportJWK, generateKeyPair, type JWK } from 'jose';
import t, { type Test } from 'tap';
import { FileKeySet, type KeySet } from '../../gateway/keys/key-set.ts';
import { fileKeys as readFileKeys } from './file-keys.ts';
import { setOf, signer } from './key-issuer.ts';

const folder = new URL('../../../shared/vectors/wycheproof/', import.meta.url);
const ASYMMETRIC = ['ES256', 'ES384', 'ES512', 'EdDSA', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];

async function fileKeys(text: string): Promise<KeySet> {
  const keys = await readFileKeys(text);
  if (typeof keys === 'string') throw new Error(keys);
  return keys;
}

t.test('a signature holds only with the key it names and an allowed algorithm', async (t) => {
  for (const alg of ['ES256', 'EdDSA', 'PS256']) {
    const a = await signer('a', alg);
    const b = await signer('b', alg);
    const keys = await fileKeys(setOf(a.jwk, b.jwk));
    t.same(await keys.verify(await a.sign(), [alg]), { kind: 'verified', version: keys.version }, alg);
    t.match(
      await keys.verify(await a.sign({ kid: 'b' }), [alg]),
      { kind: 'refused', unknownKey: false },
      'another key does not verify it',
    );
    t.match(
      await keys.verify(await a.sign({ kid: 'A' }), [alg]),
      { kind: 'refused', unknownKey: true },
      'a key that is not there does not verify it',
    );
    t.match(
      await keys.verify(await a.sign({ kid: undefined }), [alg]),
      { kind: 'refused' },
      'an ambiguous key does not verify it',
    );
    t.match(
      await keys.verify(await a.sign(), ['RS256']),
      { kind: 'refused' },
      'an algorithm that is not allowed does not verify it',
    );
    t.match(
      await keys.verify(await a.sign(), []),
      { kind: 'refused' },
      'nothing verifies it if no algorithm is allowed',
    );
  }
});

t.test('text that is no token is refused, whatever jose throws', async (t) => {
  const a = await signer('a');
  const keys = await fileKeys(setOf(a.jwk));
  const deep = Buffer.from(`${'['.repeat(100_000)}`).toString('base64url');
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`;
  for (const jws of ['', '.', '..', 'a.b.c', 'a.b.c.d', `${deep}.e30.AA`, none, `${await a.sign()}.x`]) {
    t.match(await keys.verify(jws, ['ES256']), { kind: 'refused' });
  }
  t.match(await keys.verify(none, ['none']), { kind: 'refused' }, 'the algorithm none is never allowed');
});

t.test('no symmetric algorithm is used, even if the policy names one', async (t) => {
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
  t.match(await readFileKeys(setOf(jwk, jwk)), /duplicate kid a/);
  t.match(await readFileKeys(setOf({ ...(await exportJWK(privateKey)), kid: 'p' })), /private or symmetric/);
  t.match(await readFileKeys(setOf({ kty: 'oct', k: 'c2VjcmV0' })), /private or symmetric/);
  t.match(await readFileKeys(setOf(jwk, { kty: 'EC', crv: 'P-256', d: '' })), /private or symmetric/);
  t.match(await readFileKeys(setOf()), /no key/);
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: 'AQ', e: 'AQ' })), /exponent of at least 3, got 1$/);
  t.match(
    await readFileKeys(setOf({ kty: 'RSA', n: 'AQ', e: 'AQAA' })),
    /exponent of at least 3, got 65536$/,
  );
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: 'AQ' })), /lacks n or e/);
  const power = Buffer.from((65537n ** 120n).toString(16).padStart(482, '0'), 'hex').toString('base64url');
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: power, e: 'AQAB' })), /broken generator/);
  t.match(await readFileKeys('{"keys":[{"kid":"a"}]}'), /kty/);
  t.match(await readFileKeys('{"keys":[{"kty":"EC","kid":7}]}'), /kid/);
  for (const text of ['', '{', '[]', 'null', '{"keys":{}}', '{"keys":[1]}', '{"keys":[null]}']) {
    t.match(await readFileKeys(text), /not a JSON Web Key Set/, text);
  }
});

/** Code that takes a key apart level by level would not return from this. */
const DEEP = `${'['.repeat(6000)}${']'.repeat(6000)}`;

t.test('a key with nested members is refused, unless nobody reads them', async (t) => {
  for (const member of ['alg', 'use', 'ext', 'crv', 'x', 'y', 'key_ops'])
    t.match(await readFileKeys(`{"keys":[{"kty":"EC","${member}":${DEEP}}]}`), `the ${member} of a key`);
  for (const operations of ['{}', '["verify",["sign"]]', JSON.stringify(Array(17).fill('verify'))])
    t.match(await readFileKeys(`{"keys":[{"kty":"EC","key_ops":${operations}}]}`), /key_ops/);
  const a = await signer('a');
  const text = setOf({ ...a.jwk, key_ops: ['verify'], ext: true }).replace(
    '"kid"',
    `"x5c":${DEEP},"n":null,"kid"`,
  );
  t.match(await (await fileKeys(text)).verify(await a.sign(), ['ES256']), { kind: 'verified' });
});

t.test('a set with too many keys or too long members is refused in few words', async (t) => {
  const keys = Array.from({ length: 257 }, (_, index): JWK => ({ kty: 'EC', kid: String(index) }));
  t.equal(await readFileKeys(setOf(...keys)), 'it holds more than 256 keys');
  t.type(await readFileKeys(setOf(...keys.slice(1))), FileKeySet);
  const long = (bytes: number) => Buffer.alloc(bytes, 0xaa).toString('base64url');
  const exponent = (bytes: number): JWK => ({ kty: 'RSA', n: long(256), e: long(bytes) });
  t.equal(await readFileKeys(setOf(exponent(780_000))), 'the e of a key is longer than 4096 characters');
  t.equal(await readFileKeys(setOf(exponent(33))), 'an RSA key has an exponent of more than 256 bits');
  t.match(
    await readFileKeys(setOf(exponent(32))),
    /an RSA key needs an odd exponent of at least 3, got \d{77,78}$/,
  );
  t.match(await readFileKeys(setOf({ kty: 'RSA', n: long(3073), e: 'AQAB' })), /^the n of a key is longer/);
  const twice = { kty: 'EC', kid: 'k'.repeat(4097) };
  t.match(await readFileKeys(setOf(twice, twice)), /^the kid of a key is longer/);
});

t.test('restrictions of use in a key are respected', async (t) => {
  const a = await signer('a');
  for (const member of [
    { use: 'enc' },
    { use: null },
    { alg: 'ES384' },
    { key_ops: ['sign'] },
    { ext: 'yes' },
  ]) {
    const keys = await fileKeys(setOf({ ...a.jwk, ...member } as JWK));
    const verdict = await keys.verify(await a.sign(), ['ES256']);
    t.match(verdict, { kind: 'refused', unknownKey: true }, JSON.stringify(member));
  }
});

interface Group {
  readonly comment: string;
  readonly public?: JWK & { readonly keys?: readonly JWK[] };
  readonly private?: JWK & { readonly keys?: readonly JWK[] };
  readonly tests: readonly { readonly tcId: number; readonly jws: string; readonly result: string }[];
}

/** The algorithm in the header of a vector, if the header can be read. */
function algorithmOf(jws: string): unknown {
  try {
    return JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString()).alg;
  } catch {
    return undefined;
  }
}

/** A key is for the algorithm it names (RFC 8725 §3.1), which the vectors leave open. */
function isOffered(jws: string, { alg }: JWK): boolean {
  const named = String(algorithmOf(jws));
  return ASYMMETRIC.includes(named) && (alg === undefined || alg === named);
}

/** Counts the accepted tokens of a group, which must be just those that should be accepted. */
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

t.test('Wycheproof passes', { skip: existsSync(folder) ? false : 'no outside vectors here' }, async (t) => {
  let accepted = 0;
  for (const file of ['json_web_signature_test.json', 'json_web_key_test.json']) {
    const { testGroups }: { testGroups: Group[] } = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    for (const group of testGroups) accepted += await tryGroup(t, group);
  }
  t.ok(accepted > 30, `enough vectors were accepted: ${accepted}`);
});
