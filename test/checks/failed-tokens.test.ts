/** For an address whose tokens keep failing, signatures are not verified for a while; its known good tokens still pass. */

import t from 'tap';
import { checkToken } from '../../gateway/checks/token.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import { FailedVerifications } from '../../gateway/keys/failed-verifications.ts';
import { bearer, facts, nowMs, scopeFinetune, signClaims, tenant } from './situation.ts';
import { check, holder, outcome } from './token-check.ts';

t.test(
  'an address whose tokens keep failing gets no new signature verified, but its known good tokens pass',
  async (t) => {
    const limited = tenant([], { failedTokens: new FailedVerifications({ count: 2, perMs: 60_000 }) });
    const good = await signClaims();
    t.equal(await outcome(good, { tenant: limited }), 'ok');
    const forged = (await signClaims({ sub: 'x' })).slice(0, -8).concat('AAAAAAAA');
    t.equal(await outcome(forged, { tenant: limited }), 'token-invalid');
    t.equal(
      await outcome('a.b.c', { tenant: limited }),
      'token-malformed',
      'a token that costs no signature does not count',
    );
    t.equal(await outcome(forged, { tenant: limited }), 'token-invalid');
    t.match(await check(bearer(forged), { tenant: limited }), { code: 'rate-limited', retryAfterS: 30 });
    t.equal(await outcome(await signClaims({ sub: 'y' }), { tenant: limited }), 'rate-limited');
    t.equal(await outcome(good, { tenant: limited }), 'ok');
    t.equal(await outcome(forged, { tenant: limited, at: nowMs + 30_000 }), 'token-invalid');
  },
);

t.test(
  'forged tokens that arrive together are verified up to the limit, while a crowd of good ones all pass',
  async (t) => {
    const limited = tenant([], { failedTokens: new FailedVerifications({ count: 3, perMs: 3_600_000 }) });
    const crowd = await Promise.all(
      Array.from({ length: 20 }, (_, index) => signClaims({ sub: `w${index}` })),
    );
    const outcomes = (tokens: readonly string[]): Promise<readonly string[]> =>
      Promise.all(tokens.map((token) => outcome(token, { tenant: limited })));
    t.same(await outcomes(crowd), new Array(20).fill('ok'));
    const forged = crowd.map((token) => token.slice(0, -8).concat('AAAAAAAA'));
    const refused = await outcomes(forged);
    t.equal(refused.filter((code) => code === 'token-invalid').length, 3);
    t.equal(refused.filter((code) => code === 'rate-limited').length, 17);
  },
);

t.test('deciding a running stream again neither waits for failures nor adds to them', async (t) => {
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
  t.equal(await again(await signClaims()), 'ok', 'failures of others behind the same address do not matter');
});
