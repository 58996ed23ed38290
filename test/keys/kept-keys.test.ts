/** Keys are renewed as they age, and the last good ones stay while the issuer is down, within limits. */

import type { RequestListener } from 'node:http';
import t from 'tap';
import { MIB } from '../../gateway/core/units.ts';
import { fetched, setOf, signer, verified, withIssuer } from './key-issuer.ts';

t.test('keys ten minutes old are renewed behind the request, much older ones before it', async (t) => {
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
    t.match(await keys.verify(await a.sign(), ['ES256']), { kind: 'refused' }, 'a withdrawn key is gone');
    issuer.publish(a.jwk);
    issuer.nowMs += 1_200_001;
    t.same(await keys.verify(await a.sign(), ['ES256']), verified(3), 'the request waits');
  });
});

t.test('fetching the same keys again makes no new version', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    await keys.fetch();
    await keys.fetch();
    t.equal(issuer.requests, 2);
    t.equal(keys.version, 1);
  });
});

t.test('the last good keys stay however the issuer fails', async (t) => {
  const a = await signer('a');
  const jws = await a.sign();
  const ways: readonly (readonly [name: string, answer: RequestListener])[] = [
    ['an error', (_, response) => response.writeHead(503).end()],
    ['a redirect', (_, response) => response.writeHead(302, { location: '/other' }).end()],
    ['no JSON', (_, response) => response.end('<html>')],
    ['private keys', (_, response) => response.end(setOf({ ...a.jwk, d: 'AA' }))],
    ['two keys of one kid', (_, response) => response.end(setOf(a.jwk, a.jwk))],
    [
      'a key nested deeply',
      (_, response) => response.end(`{"keys":[{"kty":"EC","x":${'['.repeat(6000)}${']'.repeat(6000)}}]}`),
    ],
    ['too many bytes', (_, response) => response.end(setOf(a.jwk) + ' '.repeat(MIB))],
    ['a broken connection', (request) => request.socket.destroy()],
  ];
  await withIssuer(async (issuer, keys) => {
    issuer.publish(a.jwk);
    await keys.fetch();
    for (const [name, answer] of ways) {
      issuer.answer = answer;
      issuer.nowMs += 2_000_000;
      t.same(await keys.verify(jws, ['ES256']), verified(1), `the keys stay after ${name}`);
      t.type(issuer.faults.at(-1), 'string', `a fault is reported for ${name}`);
    }
    t.equal(issuer.requests, 1 + ways.length, 'no redirect was followed');
  });
});

t.test('keys that could not be confirmed for too long are dropped, which is reported', async (t) => {
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
      t.equal(keys.version, 0, 'earlier verifications are not believed either');
      t.match(await keys.fetch(), /503/);
      t.equal(issuer.changes, 2);
      issuer.publish(a.jwk);
      await keys.fetch();
      t.same(await keys.verify(await a.sign(), ['ES256']), verified(1), 'the same keys are accepted again');
      t.equal(issuer.changes, 3);
    },
    { keepMs: 3_600_000 },
  );
});

t.test('an issuer that never answers is given up, and nobody waits longer', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    issuer.answer = () => undefined;
    const jws = await a.sign();
    const verdicts = await Promise.all([keys.verify(jws, ['ES256']), keys.verify(jws, ['ES256'])]);
    for (const verdict of verdicts) t.match(verdict, { kind: 'unavailable', cause: /TimeoutError/ });
    t.equal(issuer.requests, 1);
  });
});
