/** A token comes once and has one spelling; anything else is malformed before a signature is looked at. */

import t from 'tap';
import type { KeySet } from '../../gateway/keys/key-set.ts';
import { bearer, claims, issuer, sign, signClaims } from './situation.ts';
import { check, outcome, rewritten, withIssuer } from './token-check.ts';

t.test('a token is read only from one Authorization field with the scheme Bearer', async (t) => {
  const token = await signClaims();
  t.match(check([]), { code: 'token-missing' });
  t.match(check(['Authorization', `Basic ${token}`]), { code: 'token-missing' });
  t.match(check(['Authorization', token]), { code: 'token-missing' });
  t.match(check(['Authorization', 'Bearer']), { code: 'token-missing' });
  t.match(check(['X-Authorization', `Bearer ${token}`]), { code: 'token-missing' });
  t.match(await check(['authorization', `bEaReR ${token}`]), { subject: 'worker-1' });
  t.match(check([...bearer(token), ...bearer(token)]), { code: 'token-malformed' });
});

t.test('anything but a compact JWS is malformed and costs no signature', async (t) => {
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

t.test('a token has at most 8 KiB, and within them a claim may hold any number of words', async (t) => {
  const scopes = (count: number, rest: string): string => ['read', ...Array(count).fill('x'), rest].join(' ');
  const short = await signClaims({ scope: scopes(2500, '') });
  // Three characters of the payload make four of the token.
  const room = Math.floor(((8192 - short.length) * 3) / 4) - 2;
  const full = await signClaims({ scope: scopes(2500, 'x'.repeat(room)) });
  t.ok(full.length > 8184 && full.length <= 8192, String(full.length));
  t.match(await check(bearer(full)), { grants: [{ scope: 'read' }] });
  t.match(check(bearer(full.padEnd(8193, 'x'))), { code: 'token-malformed', detail: /too long/ });
});

t.test('a token has exactly one accepted spelling', async (t) => {
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

t.test('a header with a key, a reference, compression or a wrong type is malformed', async (t) => {
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

t.test('a payload that is not an object with unique names is malformed', async (t) => {
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
  t.equal(
    await outcome(`${header}.${bytes}.${signature}`),
    'token-malformed',
    'a payload that is not UTF-8 is malformed',
  );
  t.equal(
    await outcome(sign(whole.replace('{', '{"__proto__":{"sub":"admin"},'))),
    'ok',
    '__proto__ is a name like any other',
  );
});
