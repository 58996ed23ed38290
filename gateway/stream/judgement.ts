/** Decides one request and claims its share of the route's limits. */

import { type Denial, deny } from '../core/denial.ts';
import type { RequestHead } from '../core/facts.ts';
import { type Admission, type Decision, decide, verificationOf } from '../decide.ts';
import type { CallerConnection } from '../edge/caller-connection.ts';
import type { LimitClaim, LimitLease, LimitRefusal, LimitsBackend } from '../limits/limits-backend.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Policy } from '../policy/policy.ts';
import type { Account } from './account.ts';
import { limitClaim, limitDenial, limitNames, uncheckedDenial } from './limit-claim.ts';

export interface JudgementContext {
  readonly metrics: Metrics;
  readonly limits: LimitsBackend;
}

/** Returns a promise, which never rejects, only for a token not seen before. */
export function judge(
  { metrics }: JudgementContext,
  policy: Policy,
  caller: CallerConnection,
  head: RequestHead,
  { trail }: Account,
): Decision | Promise<Decision> {
  const facts = { connection: caller.standing.facts, head, nowMs: Date.now() };
  const decision = decide(policy, facts, trail);
  if (!(decision instanceof Promise)) {
    if (trail.token !== undefined) metrics.tokenCache('hit');
    return decision;
  }
  metrics.tokenCache('miss');
  return decision.then(
    (made) => {
      const { issuer, outcome } = verificationOf(made, trail);
      metrics.tokenVerification(issuer, outcome);
      return made;
    },
    (error: unknown) => deny('token', 'overloaded', 'No decision could be made.', { cause: String(error) }),
  );
}

export type Leased = LimitLease | Denial | undefined;

/** Returns undefined if the route has no limits; a promise, which never rejects, if they are counted elsewhere. */
export function leaseFor(
  context: JudgementContext,
  admission: Admission,
  head: RequestHead,
): Leased | Promise<Leased> {
  const claim = limitClaim(admission, head);
  if (claim === undefined) return undefined;
  const answer = context.limits.claim(claim, performance.now());
  if (!(answer instanceof Promise)) return counted(context, admission, claim, answer);
  return answer.then((given) => counted(context, admission, claim, given), uncheckedDenial);
}

function counted(
  { metrics }: JudgementContext,
  admission: Admission,
  claim: LimitClaim,
  answer: LimitLease | LimitRefusal,
): LimitLease | Denial {
  if (answer.kind === 'refusal') {
    metrics.limitDecision(answer.limit, 'refused', answer.backend);
    return limitDenial(answer, admission);
  }
  for (const name of limitNames(claim.limits)) metrics.limitDecision(name, 'admitted', answer.backend);
  return answer;
}
