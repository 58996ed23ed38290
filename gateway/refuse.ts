/** Turns a denial into the response: problem details (RFC 9457) and the fields that its status requires. */

import { type Denial, denials, statusOf } from './core/denial.ts';

/** A response of the gateway itself; `fields` is name, value, name, value …, without framing. */
export interface Refusal {
  readonly status: number;
  readonly fields: readonly string[];
  readonly body: Buffer;
}

export interface RefusalContext {
  readonly requestId: string;
  /** The realm of a challenge: the name of the tenant, once it is known. */
  readonly realm?: string;
}

/** The OAuth error of a challenge; none for a missing token (RFC 6750 §3.1). */
const OAUTH_ERROR: Readonly<Partial<Record<Denial['code'], string>>> = {
  'token-malformed': 'invalid_token',
  'token-invalid': 'invalid_token',
  'token-expired': 'invalid_token',
  'token-unbound': 'invalid_token',
  'token-revoked': 'invalid_token',
  'insufficient-scope': 'insufficient_scope',
  'claim-denied': 'insufficient_scope',
};

/** Says no more than the denial's `detail`: no cause, key, list or upstream. */
export function refusal(denial: Denial, context: RefusalContext): Refusal {
  const status = statusOf(denial);
  const problem = {
    ...denial.extension,
    type: `urn:patchgate:denial:${denial.code}`,
    title: denials[denial.code].title,
    status,
    detail: denial.detail,
    instance: context.requestId,
    code: denial.code,
  };
  const fields = ['Content-Type', 'application/problem+json', 'Cache-Control', 'no-store'];
  if (status === 401 || status === 403) {
    fields.push('WWW-Authenticate', challenge(denial, context.realm ?? 'patchgate'));
  }
  if (status === 426)
    fields.push('Upgrade', 'websocket', 'Connection', 'upgrade', 'Sec-WebSocket-Version', '13');
  if (denial.allow !== undefined) fields.push('Allow', denial.allow.join(', '));
  if (status === 429 || status === 503) fields.push('Retry-After', String(denial.retryAfterS ?? 1));
  return { status, fields, body: Buffer.from(`${JSON.stringify(problem)}\n`) };
}

/** `Bearer realm="…", error="…", error_description="…", scope="…"` (RFC 6750 §3). */
function challenge(denial: Denial, realm: string): string {
  const error = OAUTH_ERROR[denial.code];
  const params = [`realm="${quotable(realm)}"`];
  if (error !== undefined) params.push(`error="${error}"`, `error_description="${quotable(denial.detail)}"`);
  if (denial.scope !== undefined) params.push(`scope="${denial.scope}"`);
  return `Bearer ${params.join(', ')}`;
}

/** Replaces characters that RFC 6750 §3 does not allow in an error description; the others need no escape. */
function quotable(text: string): string {
  return text.replace(/[^ !#-[\]-~]/g, "'");
}
