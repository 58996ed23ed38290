/** The check of a token under given circumstances, and tokens that are changed after they were signed. */

import { checkToken } from '../../gateway/checks/token.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import type { VerifiedCertificate } from '../../gateway/core/facts.ts';
import type { Issuer, Requirement, Tenant } from '../../gateway/policy/policy.ts';
import { bearer, certificate, facts, issuer, nowMs, scopeFinetune, tenant } from './situation.ts';

export const holder = certificate.status === 'verified' ? certificate : undefined;

interface Circumstances {
  readonly at?: number;
  readonly tenant?: Tenant;
  readonly require?: Requirement;
  readonly certificate?: VerifiedCertificate | undefined;
}

/** Checks the token in these fields, sent by a caller with the certificate of the situation. */
export function check(fields: readonly string[], more: Circumstances = {}): ReturnType<typeof checkToken> {
  const known = 'certificate' in more ? more.certificate : holder;
  const given = { ...facts({ fields }), nowMs: more.at ?? nowMs };
  return checkToken(more.tenant ?? tenant([]), more.require ?? scopeFinetune, given, {
    address: given.connection.peer,
    certificate: known,
  });
}

/** The code of the denial, or `ok`. */
export async function outcome(token: string | Promise<string>, more: Circumstances = {}): Promise<string> {
  const found = await check(bearer(await token), more);
  return isDenial(found) ? found.code : 'ok';
}

/** A tenant whose only issuer is that of the situation, with changes. */
export const withIssuer = (more: Partial<Issuer>): Circumstances => ({
  tenant: tenant([], { issuers: [{ ...issuer, ...more }] }),
});

/** The token with its header changed, so that its signature no longer holds. */
export function rewritten(token: string, more: Readonly<Record<string, unknown>>): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const parsed = JSON.parse(Buffer.from(header, 'base64url').toString());
  return [Buffer.from(JSON.stringify({ ...parsed, ...more })).toString('base64url'), payload, signature].join(
    '.',
  );
}
