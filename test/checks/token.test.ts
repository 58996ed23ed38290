/** Step 5: only a genuine, current token of an accepted issuer with well-formed claims passes. */

import t from 'tap';
import { checkToken } from '../../gateway/checks/token.ts';
import type { KeySet } from '../../gateway/keys/key-set.ts';
import {
  bearer,
  claims,
  facts,
  issuer,
  nowMs,
  nowS,
  scopeFinetune,
  sign,
  signClaims,
  tenant,
} from './situation.ts';
import { check, holder, outcome, rewritten, withIssuer } from './token-check.ts';

t.test('every claim of a good token is read', async (t) => {
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
    'a token without max_epochs has a hundred epochs',
  );
  t.match(await check(bearer(await signClaims({ aud: ['other', issuer.audience] }))), {
    subject: 'worker-1',
  });
  for (const typ of ['at+jwt', 'application/at+jwt', 'JWT', 'AT+JWT', undefined]) {
    t.equal(await outcome(sign(JSON.stringify(claims), { typ })), 'ok', String(typ));
  }
});

t.test('required claims must be present and of the right type', async (t) => {
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

t.test('optional claims must be of the right type', async (t) => {
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

t.test('times are accepted within the clock skew and no further', async (t) => {
  const skew = issuer.clockSkewMs;
  const expMs = claims.exp * 1000;
  t.equal(await outcome(signClaims(), { at: expMs + skew - 1 }), 'ok');
  t.equal(await outcome(signClaims(), { at: expMs + skew }), 'token-expired');
  t.equal(await outcome(signClaims({ nbf: nowS + 30 })), 'ok');
  t.equal(await outcome(signClaims({ nbf: nowS + 31 })), 'token-invalid');
  t.equal(await outcome(signClaims({ iat: nowS + 30 })), 'ok');
  t.equal(await outcome(signClaims({ iat: nowS + 31 })), 'token-invalid');
  t.equal(await outcome(signClaims({ iat: nowS, exp: nowS + 3600 })), 'ok');
  t.equal(
    await outcome(signClaims({ iat: nowS, exp: nowS + 3601 })),
    'token-invalid',
    'a token that lives too long is refused',
  );
});

t.test('the signature must verify with a key and an algorithm of the issuer', async (t) => {
  const token = await signClaims();
  const [header = '', payload = '', signature = ''] = token.split('.');
  const body = Buffer.from(JSON.stringify({ ...claims, sub: 'admin' })).toString('base64url');
  t.equal(await outcome(`${header}.${body}.${signature}`), 'token-invalid', 'another payload is refused');
  t.equal(await outcome(rewritten(token, { alg: 'none' })), 'token-invalid');
  t.equal(await outcome(rewritten(token, { alg: 'HS256' })), 'token-invalid');
  t.equal(await outcome(rewritten(token, { kid: 'k2' })), 'token-invalid');
  t.equal(await outcome(`${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`), 'token-invalid');
  t.equal(
    await outcome(token, withIssuer({ algorithms: ['EdDSA'] })),
    'token-invalid',
    'an algorithm the issuer does not allow is refused',
  );
  const denial = await check(bearer(rewritten(token, { kid: 'k2' })));
  t.match(denial, { cause: /JWKSNoMatchingKey/ });
  t.notMatch(denial, { detail: /JWKS|kid/ });
});

t.test('a missing key set is reported as a fault of the gateway, not of the token', async (t) => {
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

t.test('a token given only as claims is judged by everything but its signature', async (t) => {
  const assumed = (changed: Readonly<Record<string, unknown>>) =>
    checkToken(
      tenant([]),
      scopeFinetune,
      { ...facts({ fields: [] }), assumedToken: { kind: 'claims', claims: { ...claims, ...changed } } },
      { address: facts().connection.peer, certificate: holder },
    );
  t.match(assumed({}), { subject: 'worker-1', issuer: 'main' });
  t.match(assumed({ exp: nowS - 60 }), { code: 'token-expired' });
  t.match(assumed({ aud: 'other' }), { code: 'token-invalid' });
  t.match(assumed({ iss: 'other' }), { code: 'token-invalid' });
  t.match(assumed({ cnf: { 'x5t#S256': 'B'.repeat(43) } }), { code: 'token-unbound' });
});
