/** One admitted stream, decided again: under the policy now in force, from the facts of its admission. */

import { type Denial, isDenial } from '../core/denial.ts';
import type { CertificateFacts, RequestHead } from '../core/facts.ts';
import { type Admission, type Decision, decide } from '../decide.ts';
import type { Standing } from '../edge/standing.ts';
import type { Policy } from '../policy/policy.ts';
import type { Examined } from './running-streams.ts';

export interface Admitted {
  readonly head: RequestHead;
  readonly admission: Admission;
}

/** Notified of every outcome: undefined, or why the stream has to end. */
export interface ReexaminationWatcher {
  onReexamined(denial: Denial | undefined): void;
}

/** Fetches no keys. A stream may outlive its token by the route's `expiryGraceMs`. */
export class Reexamination implements Examined {
  readonly #policy: () => Policy;
  readonly #standing: Pick<Standing, 'under'>;
  readonly #admitted: Admitted;
  readonly #watcher: ReexaminationWatcher;
  readonly #admittedMs = Date.now();
  slot = -1;
  examineAtMs: number;

  /** `policy` returns the one in force at the time of the call. */
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

  /** Missing keys do not end a stream (`overloaded`): it is decided again when they arrive. */
  #examined(decision: Decision): void {
    const ends = isDenial(decision) && decision.code !== 'overloaded';
    this.#watcher.onReexamined(ends ? decision : undefined);
  }
}

/**
 * When an admission must be decided again even if nothing changes: the next expiry, after now, of what it depends on.
 * `certificate` is given as known now, since revocation lists are replaced while the stream runs.
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

/** Returns `endMs`, or infinity if it is undefined or past. */
function after(nowMs: number, endMs: number | undefined): number {
  return endMs !== undefined && endMs > nowMs ? endMs : Number.POSITIVE_INFINITY;
}
