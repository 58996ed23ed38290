/** Step 5: only a genuine, current, well-formed token of an accepted issuer, in the hands it was given to. */
import t from 'tap';
import { checkToken } from '../../gateway/checks/token.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import type { VerifiedCertificate } from '../../gateway/core/facts.ts';
import { FailedVerifications } from '../../gateway/policy/failed-verifications.ts';
import type { KeySet } from '../../gateway/policy/key-set.ts';
import type { Issuer, Requirement, Tenant } from '../../gateway/policy/policy.ts';
import { RevokedTokens } from '../../gateway/policy/revocations.ts';
import { revokedNames } from '../lists/revoked-names.ts';
import {
  bearer,
  certificate,
  claims,
  facts,
  issuer,
  nowMs,
  nowS,
  scopeFinetune,
  sign,
  signClaims,
  tenant,
  thumbprint,
} from './situation.ts';

const holder = certificate.status === 'verified' ? certificate : undefined;

interface Circumstances {
  readonly at?: number;
  readonly tenant?: Tenant;
  readonly require?: Requirement;
  readonly certificate?: VerifiedCertificate | undefined;
}

function check(fields: readonly string[], more: Circumstances = {}): ReturnType<typeof checkToken> {
  const known = 'certificate' in more ? more.certificate : holder;
  const given = { ...facts({ fields }), nowMs: more.at ?? nowMs };
  return checkToken(more.tenant ?? tenant([]), more.require ?? scopeFinetune, given, {
    address: given.connection.peer,
    certificate: known,
  });
}

/** The code of the denial, or `ok`. */
async function outcome(token: string | Promise<string>, more: Circumstances = {}): Promise<string> {
  const found = await check(bearer(await token), more);
  return isDenial(found) ? found.code : 'ok';
}

const withIssuer = (more: Partial<Issuer>): Circumstances => ({
  tenant: tenant([], { issuers: [{ ...issuer, ...more }] }),
});

t.test('a good token is read', async (t) => {
  const token = await check(
    bearer(await signClaims({ jti: 'j1', max_epochs: 0, base_version: 7, target_version: '8', nbf: nowS })),
  );
  t.match(token, {
    issuer: 'main',
    subject: 'worker-1',
    jti: 'j1',
    grants: [{ scope: 'finetune' }],
    modelId: 'm_1',
    maxEpochs: Number.POSITIVE_INFINITY,
    baseVersion: 7,
    targetVersion: 8,
    keysVersion: 1,
    expMs: claims.exp * 1000,
    nbfMs: nowMs,
  });
  t.match(await check(bearer(await signClaims({ scp: ['read'] }))), {
    grants: [{ scope: 'finetune' }, { scope: 'read' }],
  });
  t.match(
    await check(bearer(await signClaims())),
    { maxEpochs: 100 },
    'a hundred epochs unless it says more',
  );
  t.match(await check(bearer(await signClaims({ aud: ['other', issuer.audience] }))), {
    subject: 'worker-1',
  });
  for (const typ of ['at+jwt', 'application/at+jwt', 'JWT', 'AT+JWT', undefined]) {
    t.equal(await outcome(sign(JSON.stringify(claims), { typ })), 'ok', String(typ));
  }
});

t.test('a token comes in one Authorization field as Bearer, or not at all', async (t) => {
  const token = await signClaims();
  t.match(check([]), { code: 'token-missing' });
  t.match(check(['Authorization', `Basic ${token}`]), { code: 'token-missing' });
  t.match(check(['Authorization', token]), { code: 'token-missing' });
  t.match(check(['Authorization', 'Bearer']), { code: 'token-missing' });
  t.match(check(['X-Authorization', `Bearer ${token}`]), { code: 'token-missing' });
  t.match(await check(['authorization', `bEaReR ${token}`]), { subject: 'worker-1' });
  t.match(check([...bearer(token), ...bearer(token)]), { code: 'token-malformed' });
});

t.test('what is no compact JWS is malformed, and costs no signature', async (t) => {
  const keys: KeySet = {
    ...issuer.keys,
    verify: () => Promise.reject(new Error('a signature was looked at')),
  };
  const token = await signClaims();
  const [header = '', payload = '', signature = ''] = token.split('.');
  const wrong = [
    '',
    ' ',
    'a',
    'a.b',
    `${token}.x`,
    `${token} `,
    ` ${token}`,
    `.${payload}.${signature}`,
    `${header}..${signature}`,
  ];
  const alphabet = [
    `${token}=`,
    `${token}+`,
    `${token}/`,
    token.replace('.', '..'),
    `{"payload":"${payload}"}`,
  ];
  const long = `${header}.${'A'.repeat(8192)}.${signature}`;
  for (const text of [...wrong, ...alphabet, `${header}.${payload}.`, long]) {
    t.equal(await outcome(text, withIssuer({ keys })), 'token-malformed', text.slice(0, 60));
  }
});

t.test('a token has eight KiB at most, and within them whatever a claim holds', async (t) => {
  const scopes = (count: number, rest: string): string => ['read', ...Array(count).fill('x'), rest].join(' ');
  const short = await signClaims({ scope: scopes(2500, '') });
  // Three characters of a payload are four of a token.
  const room = Math.floor(((8192 - short.length) * 3) / 4) - 2;
  const full = await signClaims({ scope: scopes(2500, 'x'.repeat(room)) });
  t.ok(full.length > 8184 && full.length <= 8192, String(full.length));
  t.match(await check(bearer(full)), { grants: [{ scope: 'read' }] });
  t.match(check(bearer(full.padEnd(8193, 'x'))), { code: 'token-malformed', detail: /too long/ });
});

t.test('one token has one spelling', async (t) => {
  const token = await signClaims();
  const last = token.at(-1) ?? '';
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  // 64 bytes leave four spare bits in the last character: these fifteen decode to the same signature.
  const others = [...alphabet].filter(
    (char) => char !== last && alphabet.indexOf(char) >> 4 === alphabet.indexOf(last) >> 4,
  );
  t.equal(others.length, 15);
  for (const char of others) t.equal(await outcome(token.slice(0, -1) + char), 'token-malformed', char);
});

t.test('a header that asks to be followed, or says what it is not, is malformed', async (t) => {
  const body = JSON.stringify(claims);
  const asking = [
    { b64: true },
    { jwk: {} },
    { jku: 'https://evil.example' },
    { x5u: '' },
    { x5c: [] },
    { zip: 'DEF' },
  ];
  for (const header of [
    ...asking,
    { typ: 'id+jwt' },
    { typ: 7 },
    { typ: '' },
    { kid: 7 },
    { kid: '' },
    { kid: '../k1' },
    { kid: 'k'.repeat(65) },
  ]) {
    t.equal(await outcome(rewritten(await sign(body), header)), 'token-malformed', JSON.stringify(header));
  }
  t.equal(await outcome(rewritten(await sign(body), { crit: ['exp'] })), 'token-malformed');
});

/** The token with its header changed, so that its signature no longer holds. */
function rewritten(token: string, more: Readonly<Record<string, unknown>>): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const parsed = JSON.parse(Buffer.from(header, 'base64url').toString());
  return [Buffer.from(JSON.stringify({ ...parsed, ...more })).toString('base64url'), payload, signature].join(
    '.',
  );
}

t.test('a payload that is no object of unique names is malformed', async (t) => {
  const whole = JSON.stringify(claims);
  const twice = [
    whole.replace('{', '{"sub":"admin",'),
    whole.replace('{', String.raw`{"s\u0075b":"admin",`),
    whole.replace('{', '{"x":{"a":1,"a":2},'),
    whole.replace('{', '{"__proto__":{},"__proto__":{},'),
  ];
  const other = ['', '[]', '"a"', '7', 'null', '{', `${whole}x`, '\ufeff{}', `${'['.repeat(3000)}`];
  for (const payload of [...twice, ...other.filter((each) => each !== '')]) {
    t.equal(await outcome(sign(payload)), 'token-malformed', payload.slice(0, 60));
  }
  const [header = '', , signature = ''] = (await signClaims()).split('.');
  const bytes = Buffer.from(whole.replace('worker-1', 'worker\xff'), 'latin1').toString('base64url');
  t.equal(await outcome(`${header}.${bytes}.${signature}`), 'token-malformed', 'not UTF-8');
  t.equal(
    await outcome(sign(whole.replace('{', '{"__proto__":{"sub":"admin"},'))),
    'ok',
    'a name like any other',
  );
});

t.test('the claims every token must have are there and of their type', async (t) => {
  for (const name of ['iss', 'aud', 'sub', 'exp', 'iat']) {
    t.equal(await outcome(signClaims({ [name]: undefined })), 'token-invalid', `no ${name}`);
    for (const value of [null, '', true, {}, [], [7], -1, 1.5]) {
      t.equal(
        await outcome(signClaims({ [name]: value })),
        'token-invalid',
        `${name} ${JSON.stringify(value)}`,
      );
    }
  }
  const whole = JSON.stringify(claims);
  const raw = (name: string, value: string) =>
    sign(whole.replace(new RegExp(`"${name}":[0-9]+`), `"${name}":${value}`));
  for (const value of ['1e999', '1e400', '9007199254740993', `${nowS + 60}.5`, `"${nowS + 60}"`]) {
    t.equal(await outcome(raw('exp', value)), 'token-invalid', `exp ${value}`);
    t.equal(await outcome(raw('iat', value)), 'token-invalid', `iat ${value}`);
  }
});

t.test('issuer and audience are compared exactly', async (t) => {
  for (const iss of [
    'https://auth.example.com/',
    'HTTPS://AUTH.EXAMPLE.COM',
    'https://evil.example',
    ' https://auth.example.com',
  ]) {
    t.equal(await outcome(signClaims({ iss })), 'token-invalid', iss);
  }
  for (const aud of [
    'weight',
    'weight-sync2',
    'Weight-Sync',
    ['other'],
    [],
    [['weight-sync']],
    'weight-sync weight-sync',
  ]) {
    t.equal(await outcome(signClaims({ aud })), 'token-invalid', JSON.stringify(aud));
  }
});

t.test('claims with a meaning here must have their type', async (t) => {
  const wrong = [
    { max_epochs: -1 },
    { max_epochs: 1.5 },
    { max_epochs: '5' },
    { max_epochs: null },
    { model_id: 7 },
    { model_id: '' },
  ];
  const more = [
    { model_id: ['m_1'] },
    { model_id: null },
    { base_version: '1.5' },
    { base_version: null },
    { target_version: 'x' },
    { target_version: null },
    { target_version: -1 },
  ];
  const other = [
    { target_version: '07' },
    { jti: 7 },
    { jti: '' },
    { nbf: 'now' },
    { nbf: null },
    { sub: '\ud800' },
  ];
  for (const changed of [...wrong, ...more, ...other]) {
    t.equal(await outcome(signClaims(changed)), 'token-invalid', JSON.stringify(changed));
  }
});

t.test('time is kept to the skew and no further', async (t) => {
  const skew = issuer.clockSkewMs;
  const expMs = claims.exp * 1000;
  t.equal(await outcome(signClaims(), { at: expMs + skew - 1 }), 'ok');
  t.equal(await outcome(signClaims(), { at: expMs + skew }), 'token-expired');
  t.equal(await outcome(signClaims({ nbf: nowS + 30 })), 'ok');
  t.equal(await outcome(signClaims({ nbf: nowS + 31 })), 'token-invalid');
  t.equal(await outcome(signClaims({ iat: nowS + 30 })), 'ok');
  t.equal(await outcome(signClaims({ iat: nowS + 31 })), 'token-invalid');
  t.equal(await outcome(signClaims({ iat: nowS, exp: nowS + 3600 })), 'ok');
  t.equal(await outcome(signClaims({ iat: nowS, exp: nowS + 3601 })), 'token-invalid', 'it lives too long');
});

t.test('the signature must hold, under a key and an algorithm of the issuer', async (t) => {
  const token = await signClaims();
  const [header = '', payload = '', signature = ''] = token.split('.');
  const body = Buffer.from(JSON.stringify({ ...claims, sub: 'admin' })).toString('base64url');
  t.equal(await outcome(`${header}.${body}.${signature}`), 'token-invalid', 'another payload');
  t.equal(await outcome(rewritten(token, { alg: 'none' })), 'token-invalid');
  t.equal(await outcome(rewritten(token, { alg: 'HS256' })), 'token-invalid');
  t.equal(await outcome(rewritten(token, { kid: 'k2' })), 'token-invalid');
  t.equal(await outcome(`${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`), 'token-invalid');
  t.equal(await outcome(token, withIssuer({ algorithms: ['EdDSA'] })), 'token-invalid', 'not offered');
  const denial = await check(bearer(rewritten(token, { kid: 'k2' })));
  t.match(denial, { cause: /JWKSNoMatchingKey/ });
  t.notMatch(denial, { detail: /JWKS|kid/ });
});

t.test('while there are no keys the gateway is at fault, not the token', async (t) => {
  const keys: KeySet = {
    ...issuer.keys,
    verify: async () => ({ kind: 'unavailable', cause: 'ECONNREFUSED' }),
  };
  const { tenant: waiting = tenant([]) } = withIssuer({ keys });
  t.match(await check(bearer(await signClaims()), { tenant: waiting }), {
    code: 'overloaded',
    retryAfterS: 5,
    cause: 'ECONNREFUSED',
  });
});

t.test('a token with cnf is for the holder of that certificate, whatever the policy says', async (t) => {
  const bound = await signClaims({ cnf: { 'x5t#S256': thumbprint } });
  const free = await signClaims();
  const other = holder && { ...holder, thumbprint: 'B'.repeat(43) };
  for (const binding of ['required', 'ifPresent', 'off'] as const) {
    const circumstances = withIssuer({ binding });
    t.equal(await outcome(bound, circumstances), 'ok', binding);
    t.equal(await outcome(bound, { ...circumstances, certificate: other }), 'token-unbound', binding);
    t.equal(await outcome(bound, { ...circumstances, certificate: undefined }), 'token-unbound', binding);
    t.equal(await outcome(free, circumstances), binding === 'required' ? 'token-unbound' : 'ok', binding);
  }
});

t.test('the route may ask for more binding than the issuer', async (t) => {
  const require = { ...scopeFinetune, binding: 'required' } as const;
  t.equal(await outcome(signClaims(), { require }), 'token-unbound');
});

t.test('a confirmation of another kind cannot be confirmed', async (t) => {
  const kinds = [
    {},
    { jkt: 'A' },
    { 'x5t#S256': 7 },
    { 'x5t#S256': '' },
    { 'x5t#S256': 'A'.repeat(44) },
    null,
    'x',
    [],
  ];
  for (const cnf of [...kinds, { 'x5t#S256': thumbprint, jkt: 'A' }, [thumbprint]]) {
    t.equal(await outcome(signClaims({ cnf })), 'token-invalid', JSON.stringify(cnf));
  }
});

/** Keys that count how often they are asked, and can be changed. */
class CountedKeys implements KeySet {
  version = 1;
  asked = 0;

  verify(jws: string, algorithms: readonly string[]): ReturnType<KeySet['verify']> {
    this.asked += 1;
    const { version } = this;
    return issuer.keys
      .verify(jws, algorithms)
      .then((verdict) => (verdict.kind === 'verified' ? { ...verdict, version } : verdict));
  }

  async warm(): Promise<undefined> {
    return undefined;
  }

  watch(): void {}

  close(): void {}
}

t.test(
  'a token seen before costs no signature and no promise, but time and binding are still checked',
  async (t) => {
    const keys = new CountedKeys();
    const circumstances = withIssuer({ keys });
    const fields = bearer(await signClaims({ cnf: { 'x5t#S256': thumbprint } }));
    t.type(check(fields, circumstances), Promise);
    await check(fields, circumstances);
    keys.asked = 0;
    t.match(check(fields, circumstances), { subject: 'worker-1' }, 'at once');
    t.match(check(fields, { ...circumstances, certificate: undefined }), { code: 'token-unbound' });
    t.equal(keys.asked, 0);
    t.equal(
      await outcome(fields[1]?.slice(7) ?? '', { ...circumstances, at: claims.exp * 1000 + 30_000 }),
      'token-expired',
    );
  },
);

t.test('a token is verified again when the keys of its issuer have changed', async (t) => {
  const keys = new CountedKeys();
  const circumstances = withIssuer({ keys });
  const fields = bearer(await signClaims());
  await check(fields, circumstances);
  keys.version = 2;
  await check(fields, circumstances);
  t.equal(keys.asked, 2);
  t.match(check(fields, circumstances), { keysVersion: 2 });
  t.equal(keys.asked, 2);
});

t.test('a token that fails is not remembered', async (t) => {
  const keys = new CountedKeys();
  const circumstances = withIssuer({ keys });
  const token = rewritten(await signClaims(), { kid: 'k2' });
  t.equal(await outcome(token, circumstances), 'token-invalid');
  t.equal(await outcome(token, circumstances), 'token-invalid');
  t.equal(keys.asked, 2);
  t.equal(circumstances.tenant?.tokens.size, 0);
});

t.test('a revoked token is refused, remembered or not; a list that was never read revokes all', async (t) => {
  const revoking = (names: readonly string[] | undefined): Tenant => {
    const part = { place: 'x.txt', contents: names && revokedNames(names, 'x.txt', 3), isCurrent: true };
    const { revocation } = tenant([]);
    return tenant([], { revocation: { ...revocation, tokens: new RevokedTokens([part]) } });
  };
  const token = await signClaims({ jti: 'j1', sub: 'w', cnf: { 'x5t#S256': thumbprint } });
  const hex = Buffer.from(thumbprint, 'base64url').toString('hex');
  for (const name of ['jti:j1', 'sub:w', `sha256:${hex}`]) {
    t.match(
      await check(bearer(token), { tenant: revoking([name]) }),
      { code: 'token-revoked', cause: 'it was revoked by x.txt:3' },
      name,
    );
  }
  t.equal(await outcome(token, { tenant: revoking(['jti:j2', 'sub:j1', 'sub:', 'jti:w']) }), 'ok');
  t.match(await check(bearer(token), { tenant: revoking(undefined) }), {
    code: 'token-revoked',
    cause: 'the list of those revoked was never read (x.txt)',
  });
  const later = revoking(['jti:j0']);
  t.equal(await outcome(token, { tenant: later }), 'ok');
  const [part] = later.revocation.tokens.parts;
  if (part !== undefined) Object.assign(part, { contents: revokedNames(['jti:j1'], 'x.txt', 4) });
  t.equal(await outcome(token, { tenant: later }), 'token-revoked', 'one that is remembered');
});

t.test(
  'an address whose tokens keep failing is not verified for; its good tokens of before go on',
  async (t) => {
    const limited = tenant([], { failedTokens: new FailedVerifications({ count: 2, perMs: 60_000 }) });
    const good = await signClaims();
    t.equal(await outcome(good, { tenant: limited }), 'ok');
    const forged = (await signClaims({ sub: 'x' })).slice(0, -8).concat('AAAAAAAA');
    t.equal(await outcome(forged, { tenant: limited }), 'token-invalid');
    t.equal(
      await outcome('a.b.c', { tenant: limited }),
      'token-malformed',
      'what costs no signature does not count',
    );
    t.equal(await outcome(forged, { tenant: limited }), 'token-invalid');
    t.match(await check(bearer(forged), { tenant: limited }), { code: 'rate-limited', retryAfterS: 30 });
    t.equal(await outcome(await signClaims({ sub: 'y' }), { tenant: limited }), 'rate-limited');
    t.equal(await outcome(good, { tenant: limited }), 'ok');
    t.equal(await outcome(forged, { tenant: limited, at: nowMs + 30_000 }), 'token-invalid');
  },
);

t.test('a token that is told of is judged by all but its signature', async (t) => {
  const told = (changed: Readonly<Record<string, unknown>>) =>
    checkToken(
      tenant([]),
      scopeFinetune,
      { ...facts({ fields: [] }), told: { kind: 'claims', claims: { ...claims, ...changed } } },
      { address: facts().connection.peer, certificate: holder },
    );
  t.match(told({}), { subject: 'worker-1', issuer: 'main' });
  t.match(told({ exp: nowS - 60 }), { code: 'token-expired' });
  t.match(told({ aud: 'other' }), { code: 'token-invalid' });
  t.match(told({ iss: 'other' }), { code: 'token-invalid' });
  t.match(told({ cnf: { 'x5t#S256': 'B'.repeat(43) } }), { code: 'token-unbound' });
});

t.test(
  'a stream that is decided again is no attempt: it neither waits for failures nor adds to them',
  async (t) => {
    const failedTokens = new FailedVerifications({ count: 1, perMs: 60_000 });
    const limited = tenant([], { failedTokens });
    const again = async (token: string): Promise<string> => {
      const given = { ...facts({ fields: bearer(token) }), again: true };
      const found = await checkToken(limited, scopeFinetune, given, {
        address: given.connection.peer,
        certificate: holder,
      });
      return isDenial(found) ? found.code : 'ok';
    };
    const forged = (await signClaims({ sub: 'x' })).slice(0, -8).concat('AAAAAAAA');
    for (let each = 0; each < 3; each++) t.equal(await again(forged), 'token-invalid');
    t.equal(failedTokens.size, 0);
    t.equal(await outcome(forged, { tenant: limited }), 'token-invalid');
    t.equal(await outcome(await signClaims(), { tenant: limited }), 'rate-limited');
    t.equal(await again(await signClaims()), 'ok', 'whatever others behind the same address have sent');
  },
);
