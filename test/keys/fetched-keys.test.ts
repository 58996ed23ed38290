/** Keys are fetched once for many requests, and again for an unknown key, within the allowed pace. */

import t from 'tap';
import { fetched, Issuer, signer, verified, withIssuer } from './key-issuer.ts';

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

t.test('warmed keys are fetched before the first request', async (t) => {
  const a = await signer('a');
  await withIssuer(async (issuer, keys) => {
    t.match(await keys.fetch(), /500/);
    t.match(await keys.verify(await a.sign(), ['ES256']), { kind: 'unavailable', cause: /500/ });
    t.equal(issuer.requests, 1, 'the fetch is not repeated at once');
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

t.test('an unknown kid causes a fetch, but at most every thirty seconds', async (t) => {
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

t.test('if fetching is not allowed the keys at hand must suffice', async (t) => {
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

t.test('followed keys are fetched on a schedule, and sooner while that fails', async (t) => {
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
  t.equal(issuer.requests, requests, 'nothing is fetched once it is closed');
});
