/** One request from its head to its last byte: decide, then refuse or relay, then account. */

import type { AuditLog } from './audit/audit-log.ts';
import { type Denial, deny, isDenial, statusOf } from './core/denial.ts';
import type { RequestHead, RequestLine } from './core/facts.ts';
import type { Admission, Decision } from './decide.ts';
import type { CallListener } from './edge/call-listener.ts';
import type { CallerConnection } from './edge/caller-connection.ts';
import type { LimitLease } from './limits/limits-backend.ts';
import type { Policy } from './policy/policy.ts';
import { type Refusal, refusal } from './refuse.ts';
import {
  Account,
  type AccountContext,
  CALLER_GONE,
  type EndedBy,
  type ExchangeEnd,
} from './stream/account.ts';
import { isAudited } from './stream/audit-entries.ts';
import type { TransferContext } from './stream/cargo.ts';
import { refusalText } from './stream/heads.ts';
import { type JudgementContext, judge, type Leased, leaseFor } from './stream/judgement.ts';
import { quotaLines } from './stream/quota-lines.ts';
import { Reexamination, type ReexaminationWatcher } from './stream/reexamination.ts';
import type { RunningStreams } from './stream/running-streams.ts';
import { Transfer } from './stream/transfer.ts';
import type { TransferWatcher } from './stream/transfer-watcher.ts';

/** What all exchanges of a gateway share. */
export interface ExchangeContext extends AccountContext, JudgementContext, TransferContext {
  /** The policy in force now. */
  readonly policy: () => Policy;
  readonly streams: RunningStreams;
}

/** Handles a request to its end: it is answered or broken off, and accounted for exactly once, whatever happens. */
export function beginExchange(
  context: ExchangeContext,
  caller: CallerConnection,
  head: RequestHead | Denial,
  line?: RequestLine,
): void {
  const policy = context.policy();
  const account = new Account(context, caller.standing.under(policy), policy, head, line);
  if (isDenial(head)) {
    const problem = refusal(head, { requestId: account.requestId });
    caller.write(refusalText(problem, undefined, false));
    account.answered(problem.body.length);
    account.close({ status: statusOf(head), endedBy: 'gateway', denial: head });
    caller.finish(false);
    return;
  }
  const exchange = new Exchange(context, policy, caller, head, account);
  caller.attach(exchange);
  exchange.decide();
}

/**
 * The exchange of a well-formed request. Once it is admitted, the transfer listens to the caller in its place. Four
 * methods end it, by `#end`: `onComplete`, `onLeft`, `#answer` and `#breakOff`.
 */
class Exchange implements CallListener, TransferWatcher, ReexaminationWatcher {
  readonly #context: ExchangeContext;
  readonly #policy: Policy;
  readonly #caller: CallerConnection;
  readonly #head: RequestHead;
  readonly #account: Account;
  /** The number of policy changes when the decision began. */
  readonly #changes: number;
  /** Nothing is sent to a node before the decision. */
  readonly unsentBytes = 0;
  #lease: LimitLease | undefined;
  /** For the gateway's own answers, once the request is admitted. */
  #quotaLines = '';
  #transfer: Transfer | undefined;
  #reexamination: Reexamination | undefined;
  #over = false;

  constructor(
    context: ExchangeContext,
    policy: Policy,
    caller: CallerConnection,
    head: RequestHead,
    account: Account,
  ) {
    this.#context = context;
    this.#changes = context.streams.changes;
    this.#policy = policy;
    this.#caller = caller;
    this.#head = head;
    this.#account = account;
  }

  decide(): void {
    const decision = judge(this.#context, this.#policy, this.#caller, this.#head, this.#account);
    if (decision instanceof Promise) void decision.then((made) => this.#decided(made));
    else this.#decided(decision);
  }

  onCallerDrain(): void {}

  onBadBody(): void {}

  onRoom(): void {}

  onCallerGone(): void {
    this.#breakOff('caller', 'the caller closed the connection');
  }

  onCut(denial: Denial): void {
    this.#refuse(denial);
  }

  /** The response was sent completely. A node connection with an incomplete request must not be reused. */
  onComplete(mayReuse: boolean): void {
    const transfer = this.#transfer;
    if (transfer === undefined || !this.#end({ status: transfer.status, endedBy: 'upstream' })) return;
    if (!transfer.isWhole) transfer.resetNode();
    this.#caller.finish(mayReuse && this.#caller.bodyDone);
  }

  onLeft(): void {
    const transfer = this.#transfer;
    if (transfer === undefined || !this.#end({ status: transfer.status, endedBy: 'caller' })) return;
    transfer.endNode();
  }

  onRefusal(denial: Denial): void {
    this.#refuse(denial);
  }

  onAnswer(answer: Refusal, denial: Denial): void {
    this.#answer(answer, denial);
  }

  onBroken(endedBy: EndedBy, cause: string): void {
    this.#breakOff(endedBy, cause);
  }

  onReexamined(denial: Denial | undefined): void {
    if (this.#over) return;
    this.#context.metrics.reexamination(denial === undefined ? 'kept' : 'ended', denial?.code ?? '');
    if (denial !== undefined) this.#refuse(denial);
  }

  #decided(decision: Decision): void {
    if (this.#over) return;
    if (isDenial(decision)) {
      this.#refuse(decision);
      return;
    }
    const leased = leaseFor(this.#context, decision, this.#head);
    if (leased instanceof Promise) void leased.then((each) => this.#leased(decision, each));
    else this.#leased(decision, leased);
  }

  #leased(admission: Admission, leased: Leased): void {
    if (isDenial(leased)) {
      this.#refuse(leased);
      return;
    }
    if (this.#over) {
      leased?.release(0, performance.now());
      return;
    }
    this.#lease = leased;
    this.#quotaLines = quotaLines(admission, leased);
    const { audit } = this.#context;
    if (audit === undefined || !isAudited(admission.route)) this.#admit(admission);
    else this.#record(audit, admission);
  }

  /** If the audit log is required, nothing is sent to a node before the admission is on disk. */
  #record(audit: AuditLog, admission: Admission): void {
    if (audit.isRequired) {
      audit.record(this.#account.admission, (isWritten) => {
        if (this.#over) return;
        if (isWritten) this.#admit(admission);
        else
          this.#refuse(deny('node', 'audit-unavailable', 'The request cannot be recorded in the audit log.'));
      });
    } else {
      audit.record(this.#account.admission);
      this.#admit(admission);
    }
  }

  #admit(admission: Admission): void {
    const lease = this.#lease;
    const caller = this.#caller;
    const head = this.#head;
    const account = this.#account;
    const { streamIdleMs } = this.#policy.gateway.timeouts;
    account.admitted(admission);
    this.#reexamination = new Reexamination(this.#context.policy, caller.standing, { head, admission }, this);
    this.#context.streams.add(this.#reexamination, this.#changes);
    this.#transfer = new Transfer(
      this.#context,
      { caller, head, admission, lease, quotaLines: this.#quotaLines, account, streamIdleMs },
      this,
    );
    this.#transfer.begin();
  }

  /** Answers with the denial, or breaks the connection if the response has begun already. */
  #refuse(denial: Denial): void {
    if (this.#transfer?.begun) {
      this.#breakOff('gateway', denial.detail, denial);
      return;
    }
    const { requestId, trail } = this.#account;
    this.#answer(refusal(denial, { requestId, ...(trail.tenant && { realm: trail.tenant.name }) }), denial);
  }

  #answer(answer: Refusal, denial: Denial): void {
    const reuse = this.#head.keepAlive && this.#caller.bodyDone && !this.#context.draining();
    this.#account.answered(this.#head.method === 'HEAD' ? 0 : answer.body.length);
    if (!this.#end({ status: answer.status, endedBy: 'gateway', denial })) return;
    this.#transfer?.resetNode(denial.step === 'node' ? denial.detail : undefined);
    this.#caller.write(refusalText(answer, this.#head, reuse, denial.quotaLines ?? this.#quotaLines));
    this.#caller.finish(reuse);
  }

  /** Breaks both connections: the node sees a reset, the caller an incomplete response. */
  #breakOff(endedBy: EndedBy, cause: string, denial?: Denial): void {
    const status = this.#transfer?.status ?? CALLER_GONE;
    if (!this.#end({ status, endedBy, cause, ...(denial && { denial }) })) return;
    this.#transfer?.resetNode(endedBy === 'upstream' ? cause : undefined);
    this.#caller.abort();
  }

  /** Accounts for the exchange. Returns true only the first time. */
  #end(end: ExchangeEnd): boolean {
    if (this.#over) return false;
    this.#over = true;
    if (this.#reexamination !== undefined) this.#context.streams.delete(this.#reexamination);
    this.#transfer?.stop();
    this.#lease?.release(this.#account.movedBytes, performance.now());
    this.#account.close(end);
    return true;
  }
}
