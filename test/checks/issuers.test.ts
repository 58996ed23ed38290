/** A tenant with several issuers believes each for itself: its own keys, audience and skew, and no other's. */
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import t from 'tap';
import { checkToken } from '../../gateway/checks/token.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import type { Issuer } from '../../gateway/policy/policy.ts';
import { fileKeys } from '../keys/file-keys.ts';
import { bearer, claims, facts, nowMs, scopeFinetune, tenant } from './situation.ts';

interface SigningIssuer {
  readonly issuer: Issuer;
  /** A token that the issuer with these claims would have signed, by the key of this one. */
  sign(of: Issuer): Promise<string>;
}

/** Both call their key k1. */
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

t.test('each issuer is believed for its own tokens alone', async (t) => {
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
  t.equal(await outcome(await first.sign(second.issuer)), 'token-invalid', 'signed by the other');
  t.equal(await outcome(await second.sign(first.issuer)), 'token-invalid');
  const crossed = { ...first.issuer, audience: second.issuer.audience };
  t.equal(await outcome(await first.sign(crossed)), 'token-invalid', 'the audience of the other');
  const unknown = { ...first.issuer, issuer: 'https://third.test' };
  t.equal(await outcome(await first.sign(unknown)), 'token-invalid', 'nobody');
});
