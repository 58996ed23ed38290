/** What an admitted request claims from the limits of its route, and the denial if they refuse. */

import { holderOf } from '../core/address-holder.ts';
import { type Denial, type DenialCode, deny } from '../core/denial.ts';
import { messageOf } from '../core/error-text.ts';
import type { RequestHead } from '../core/facts.ts';
import type { Admission } from '../decide.ts';
import type { LimitClaim, LimitRefusal } from '../limits/limits-backend.ts';
import type { LimitHolder, LimitName, Quotas } from '../policy/policy.ts';
import { refusalLines } from './quota-lines.ts';

/** Returns undefined for a route without limits. */
export function limitClaim(admission: Admission, { framing }: RequestHead): LimitClaim | undefined {
  const { route, tenant } = admission;
  const { limits } = route;
  if (limits === undefined) return undefined;
  const holder = JSON.stringify([tenant.name, route.name, ...sharers(limits.per, admission)]);
  return { holder, limits, declaredBytes: framing.kind === 'length' ? framing.length : 0 };
}

/** Who shares the limits. A caller without a token, possible on a route in shadow mode, is counted by its address. */
function sharers(per: LimitHolder, { token, client, params }: Admission): readonly string[] {
  if (per === 'tenant') return [];
  if (per === 'model') return ['model', params['model_id'] ?? ''];
  if (per === 'subject' && token !== undefined) return ['subject', token.issuer, token.subject];
  return ['address', holderOf(client.address)];
}

const REFUSALS: Readonly<Record<LimitName, readonly [DenialCode, string]>> = {
  requests: ['rate-limited', 'There were too many requests.'],
  concurrent: ['concurrency-limited', 'There are too many requests at once.'],
  bytes: ['bytes-exhausted', 'The byte budget is used up.'],
};

const UNAVAILABLE = ['limits-unavailable', 'The limits cannot be checked now.'] as const;

export function limitDenial(refusal: LimitRefusal, admission: Admission): Denial {
  const { limit, waitMs, backend } = refusal;
  const [code, detail] = backend === 'none' ? UNAVAILABLE : REFUSALS[limit];
  const retryAfterS = Math.max(1, Math.ceil(waitMs / 1000));
  return deny('limits', code, detail, {
    rule: `limits.${limit}`,
    retryAfterS,
    ...(backend === 'none' && { cause: 'Redis is unavailable (gateway.state.onFailure: deny)' }),
    quotaLines: refusalLines(admission, refusal, retryAfterS),
  });
}

/** The denial for a claim that the primary did not answer, or could not take. */
export function uncheckedDenial(error: unknown): Denial {
  return deny('limits', 'overloaded', 'The limits cannot be checked now.', { cause: messageOf(error) });
}

/** The keys of the limits a route has. */
export function limitNames(limits: Quotas): readonly LimitName[] {
  const names: readonly LimitName[] = ['requests', 'concurrent', 'bytes'];
  return names.filter((name) => limits[name] !== undefined);
}
