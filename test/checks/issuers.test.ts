/** Of several issuers of a tenant each is believed by its own keys, audience and clock skew only. */
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import t from 'tap';
import { checkToken } from '../../gateway/checks/token.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import type { Issuer } from '../../gateway/policy/policy.ts';
import { fileKeys } from '../keys/file-keys.ts';
import { bearer, claims, facts, nowMs, scopeFinetune, tenant } from './situation.ts';

interface SigningIssuer {
  readonly issuer: Issuer;
  /** A token with the claims of that issuer, signed with the key of this one. */
  sign(of: Issuer): Promise<string>;
}

/** Both issuers call their key k1. */
async function signingIssuer(name: string, audience: string): Promise<SigningIssuer> {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const keys = await fileKeys(JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1' }] }));
  if (typeof keys === 'string') throw new Error(keys);
  const times = { clockSkewMs: 0, maxLifetimeMs: 3_600_000 };
  const own = { name, issuer: `https://${name}.test`, audience, keys };
  return {
    issuer: { ...own, ...times, algorithms: ['ES256'], binding: 'off' },
    sign: (of) => {
      const payload = JSON.stringify({ ...claims, iss: of.issuer, aud: of.audience });
      const header = { alg: 'ES256', kid: 'k1' };
      return new CompactSign(Buffer.from(payload)).setProtectedHeader(header).sign(privateKey);
    },
  };
}

t.test('each issuer is believed only for its own tokens', async (t) => {
  const [first, second] = [await signingIssuer('first', 'one'), await signingIssuer('second', 'two')];
  const both = tenant([], { issuers: [first.issuer, second.issuer] });
  const outcome = async (token: string): Promise<string> => {
    const given = { ...facts({ fields: bearer(token) }), nowMs };
    const address = given.connection.peer;
    const found = await checkToken(both, scopeFinetune, given, { address, certificate: undefined });
    return isDenial(found) ? found.code : found.issuer;
  };
  t.equal(await outcome(await first.sign(first.issuer)), 'first');
  t.equal(await outcome(await second.sign(second.issuer)), 'second');
  t.equal(
    await outcome(await first.sign(second.issuer)),
    'token-invalid',
    'a token signed by the other issuer is refused',
  );
  t.equal(await outcome(await second.sign(first.issuer)), 'token-invalid');
  const crossed = { ...first.issuer, audience: second.issuer.audience };
  t.equal(
    await outcome(await first.sign(crossed)),
    'token-invalid',
    'a token for the audience of the other issuer is refused',
  );
  const unknown = { ...first.issuer, issuer: 'https://third.test' };
  t.equal(
    await outcome(await first.sign(unknown)),
    'token-invalid',
    'a token of an unknown issuer is refused',
  );
});
