/** A token issuer for development: a new ES256 key whose public half goes into a JWKS. */

import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose';

export interface TokenIssuer {
  /** Public keys, as an issuer would serve them. */
  readonly jwks: JSONWebKeySet;
  /** Signs a token. `iat` defaults to now and `exp` to `expiresInS` (3600) later; `claims` may override both. */
  sign(
    claims: Readonly<Record<string, unknown>>,
    options?: { readonly expiresInS?: number },
  ): Promise<string>;
}

export async function createTokenIssuer(keyId = 'development'): Promise<TokenIssuer> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: keyId, alg: 'ES256', use: 'sig' };
  return {
    jwks: { keys: [jwk] },
    sign: (claims, { expiresInS = 3600 } = {}) => {
      const nowS = Math.floor(Date.now() / 1000);
      return new SignJWT({ iat: nowS, exp: nowS + expiresInS, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: keyId, typ: 'at+jwt' })
        .sign(privateKey);
    },
  };
}
