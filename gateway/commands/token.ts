/** `patchgate token`: signs tokens for development, with a key kept on disk for that purpose only. */

import { X509Certificate } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { messageOf } from '../core/error-text.ts';
import { parseDuration } from '../core/units.ts';
import { type Command, type OptionValues, optional, required, UsageError } from './command.ts';

/** Readable by its owner only: anyone who has the key can issue tokens. */
const KEY_FILE_MODE = 0o600;
const KEY_MEMBERS = ['kty', 'crv', 'x', 'y', 'd', 'kid'];

export const token: Command = {
  name: 'token',
  summary:
    'sign a token for development; with --new-key create the key first, and next to it the JWKS for the policy',
  usage: `--key dev.jwk [--new-key] --iss ISSUER --aud AUDIENCE [--sub NAME] [--scope 'read finetune:vision'] [--claim name=value]
         [--certificate FILE] [--expires-in 1h]`,
  options: {
    key: { type: 'string' },
    'new-key': { type: 'boolean' },
    iss: { type: 'string' },
    aud: { type: 'string' },
    sub: { type: 'string', default: 'developer' },
    scope: { type: 'string' },
    claim: { type: 'string', multiple: true },
    certificate: { type: 'string' },
    'expires-in': { type: 'string', default: '1h' },
  },
  async run(values, terminal) {
    const file = required(values, 'key');
    const claims = await claimsOf(values);
    const { importJWK, SignJWT } = await import('jose');
    if (values['new-key'] === true) terminal.warn(`wrote the public key to ${await makeKey(file)}\n`);
    const jwk = await readKey(file);
    const signed = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid: String(jwk['kid']), typ: 'at+jwt' })
      .sign(await importJWK(jwk, 'ES256'));
    terminal.write(`${signed}\n`);
    return 0;
  },
};

/** Resolves to the path of the JWKS. Never overwrites a key or a JWKS: tokens signed with them may be in use. */
async function makeKey(file: string): Promise<string> {
  const { calculateJwkThumbprint, exportJWK, generateKeyPair } = await import('jose');
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const shown = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(shown);
  const secret = { ...(await exportJWK(privateKey)), kid };
  const jwks = `${file.replace(/\.jwk$/, '')}.jwks.json`;
  try {
    await writeNew(jwks, { keys: [{ ...shown, kid, alg: 'ES256', use: 'sig' }] });
    await writeNew(file, secret, KEY_FILE_MODE).catch(async (error: unknown) => {
      await rm(jwks);
      throw error;
    });
  } catch (error) {
    throw new UsageError(`--new-key: ${messageOf(error)}`);
  }
  return jwks;
}

async function writeNew(file: string, content: object, mode = 0o666): Promise<void> {
  await writeFile(file, `${JSON.stringify(content)}\n`, { mode, flag: 'wx' });
}

async function readKey(file: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readFile(file, 'utf8').catch((error: Error) => error);
  if (text instanceof Error) throw new UsageError(`--key: ${text.message}`);
  try {
    const jwk: unknown = JSON.parse(text);
    if (typeof jwk === 'object' && jwk !== null && KEY_MEMBERS.every((name) => name in jwk))
      return { ...jwk };
  } catch {
    // Reported below.
  }
  throw new UsageError(`--key: expected a private P-256 JWK with a kid in ${file}`);
}

async function claimsOf(values: OptionValues): Promise<Record<string, unknown>> {
  const life = required(values, 'expires-in');
  const lifeMs = parseDuration(life);
  if (lifeMs === undefined)
    throw new UsageError(`--expires-in: expected a duration like 30s, 5m or 1h, got ${life}`);
  const nowS = Math.floor(Date.now() / 1000);
  const scope = optional(values, 'scope');
  return {
    iss: required(values, 'iss'),
    aud: required(values, 'aud'),
    sub: required(values, 'sub'),
    iat: nowS,
    exp: nowS + Math.floor(lifeMs / 1000),
    ...(scope !== undefined && { scope }),
    ...(await confirmation(optional(values, 'certificate'))),
    ...Object.fromEntries(furtherClaims(values['claim'])),
  };
}

/** The `cnf` claim that binds the token to a certificate (RFC 8705 §3.1). */
async function confirmation(file: string | undefined): Promise<Readonly<Record<string, unknown>>> {
  if (file === undefined) return {};
  try {
    const { fingerprint256 } = new X509Certificate(await readFile(file));
    const digest = Buffer.from(fingerprint256.replaceAll(':', ''), 'hex');
    return { cnf: { 'x5t#S256': digest.toString('base64url') } };
  } catch (error) {
    throw new UsageError(`--certificate: ${messageOf(error)}`);
  }
}

/** Parses `name=value`; a value that is not valid JSON is taken as text. */
function furtherClaims(given: OptionValues[string]): readonly (readonly [string, unknown])[] {
  return (Array.isArray(given) ? given : []).map((text: string) => {
    const [, name, value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (name === undefined) throw new UsageError(`--claim: expected name=value, got ${text}`);
    return [name, parseJson(value)];
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
