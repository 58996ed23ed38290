/** One admitted stream, decided again by what is in force now and from the facts of then. */

import { type Denial, isDenial } from '../core/denial.ts';
import type { CertificateFacts, RequestHead } from '../core/facts.ts';
import { type Admission, type Decision, decide } from '../decide.ts';
import type { Standing } from '../edge/standing.ts';
import type { Policy } from '../policy/policy.ts';
import type { Examined } from './running-streams.ts';

/** What was admitted. */
export interface Admitted {
  readonly head: RequestHead;
  readonly admission: Admission;
}

/** Hears of every outcome: nothing, or why the stream has to end. */
export interface ReexaminationWatcher {
  onReexamined(denial: Denial | undefined): void;
}

/** Nothing is fetched for it. How long the stream may outlive its token is the route's to say. */
export class Reexamination implements Examined {
  readonly #policy: () => Policy;
  readonly #standing: Pick<Standing, 'under'>;
  readonly #admitted: Admitted;
  readonly #watcher: ReexaminationWatcher;
  readonly #admittedMs = Date.now();
  slot = -1;
  examineAtMs: number;

  /** `policy` is the one in force whenever it is asked for. */
  constructor(
    policy: () => Policy,
    standing: Pick<Standing, 'under'>,
    admitted: Admitted,
    watcher: ReexaminationWatcher,
  ) {
    this.#policy = policy;
    this.#standing = standing;
    this.#admitted = admitted;
    this.#watcher = watcher;
    const { admission } = admitted;
    this.examineAtMs = endOf(admission, admission.certificate, this.#admittedMs);
  }

  examine(): void {
    const { head, admission } = this.#admitted;
    const policy = this.#policy();
    const nowMs = Date.now();
    const connection = this.#standing.under(policy);
    this.examineAtMs = endOf(admission, connection.certificate, nowMs);
    const decision = decide(policy, {
      connection,
      head,
      nowMs,
      tokenNowMs: Math.max(this.#admittedMs, nowMs - admission.route.expiryGraceMs),
      again: true,
    });
    if (decision instanceof Promise) void decision.then((made) => this.#examined(made));
    else this.#examined(decision);
  }

  /** Keys that are not there yet say nothing against a token: when they come, it is looked at again. */
  #examined(decision: Decision): void {
    const ends = isDenial(decision) && decision.code !== 'overloaded';
    this.#watcher.onReexamined(ends ? decision : undefined);
  }
}

/**
 * When an admission has to be looked at again for the time alone: the next end after now of what it stands on. The
 * certificate is as it is known now: lists it is looked up in are replaced while the stream runs.
 */
function endOf(
  { route, tenant, token }: Admission,
  certificate: CertificateFacts | undefined,
  nowMs: number,
): number {
  const issuer = tenant.issuers.find(({ name }) => name === token?.issuer);
  const ofToken = (token?.expMs ?? 0) + (issuer?.clockSkewMs ?? 0) + route.expiryGraceMs;
  const { notAfterMs, listsDueMs } = certificate?.status === 'verified' ? certificate : {};
  return Math.min(
    after(nowMs, token && ofToken),
    after(nowMs, notAfterMs && notAfterMs + 1),
    after(nowMs, listsDueMs && listsDueMs + 1),
  );
}

/** The end, if there is one and it is still to come. */
function after(nowMs: number, endMs: number | undefined): number {
  return endMs !== undefined && endMs > nowMs ? endMs : Number.POSITIVE_INFINITY;
}
