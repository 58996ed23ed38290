/** A policy folder, and tokens signed by its issuer. */
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Test } from 'tap';
import { createAuthorities, type PolicyFolder, writePolicyFolder } from '../policy/policy-folder.ts';

const authorities = await createAuthorities();
const { publicKey, privateKey } = await generateKeyPair('ES256');
export const jwksOf = async (kid: string): Promise<string> =>
  JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256' }] });
export const JWKS = await jwksOf('1');

export function signToken(claims: Readonly<Record<string, unknown>>, kid = '1'): Promise<string> {
  return new SignJWT({ scope: 'read finetune', model_id: 'vision', ...claims })
    .setProtectedHeader({ alg: 'ES256', kid })
    .setIssuer('https://auth.example.com')
    .setAudience('weight-sync')
    .setSubject('worker-1')
    .setExpirationTime('5m')
    .sign(privateKey);
}

export const folderWith = (t: Test, files = {}): Promise<PolicyFolder> =>
  writePolicyFolder(t, authorities, { 'tenants/keys/main.jwks.json': JWKS, ...files });
