/** A bound token is good only in the hands it was given to (RFC 8705 §3.1). */

import t from 'tap';
import { scopeFinetune, signClaims, thumbprint } from './situation.ts';
import { holder, outcome, withIssuer } from './token-check.ts';

t.test('a token with cnf is good only with that certificate, whatever the policy says', async (t) => {
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

t.test('a route may require binding where the issuer does not', async (t) => {
  const require = { ...scopeFinetune, binding: 'required' } as const;
  t.equal(await outcome(signClaims(), { require }), 'token-unbound');
});

t.test('a confirmation of another kind is refused', async (t) => {
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
