/** A verified token is remembered, which spares its signature check and nothing else. */

import t from 'tap';
import type { KeySet } from '../../gateway/keys/key-set.ts';
import type { Tenant } from '../../gateway/policy/policy.ts';
import { RevokedTokens } from '../../gateway/policy/revocations.ts';
import { revokedNames } from '../lists/revoked-names.ts';
import { bearer, claims, issuer, signClaims, tenant, thumbprint } from './situation.ts';
import { check, outcome, rewritten, withIssuer } from './token-check.ts';

/** Keys that count how often they are asked and that can be changed. */
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
  'a remembered token costs no signature and no promise, but its time and binding are still checked',
  async (t) => {
    const keys = new CountedKeys();
    const circumstances = withIssuer({ keys });
    const fields = bearer(await signClaims({ cnf: { 'x5t#S256': thumbprint } }));
    t.type(check(fields, circumstances), Promise);
    await check(fields, circumstances);
    keys.asked = 0;
    t.match(
      check(fields, circumstances),
      { subject: 'worker-1' },
      'a remembered token is judged synchronously',
    );
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

t.test('a revoked token is refused even if remembered, and an unread list revokes all', async (t) => {
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
    cause: 'the list of revoked entries was never read (x.txt)',
  });
  const later = revoking(['jti:j0']);
  t.equal(await outcome(token, { tenant: later }), 'ok');
  const [part] = later.revocation.tokens.parts;
  if (part !== undefined) Object.assign(part, { contents: revokedNames(['jti:j1'], 'x.txt', 4) });
  t.equal(
    await outcome(token, { tenant: later }),
    'token-revoked',
    'a remembered token is refused once it is on the list',
  );
});
