/** One request from its head to its last byte: decide, then refuse or relay, then account. */

import { type Deadlines, Expiring } from './core/deadlines.ts';
import { type Denial, deny, isDenial, statusOf } from './core/denial.ts';
import type { RequestHead } from './core/facts.ts';
import { type Admission, type Decision, decide } from './decide.ts';
import type { CallerConnection, CallListener } from './edge/caller-connection.ts';
import type { ResponseHead } from './http1/response.ts';
import type { Policy } from './policy/policy.ts';
import { refusal } from './refuse.ts';
import type { NodeConnection, NodeFault } from './relay/node-connection.ts';
import type { NodeWaiter, UpstreamPools } from './relay/upstream-pools.ts';
import { Account, type AccountContext, CALLER_GONE, type EndedBy, type Ending } from './stream/account.ts';
import { Download, type DownloadWatcher } from './stream/download.ts';
import { CONTINUE_TEXT, refusalText, upstreamText } from './stream/heads.ts';
import { Reexamination, type ReexaminationWatcher } from './stream/reexamination.ts';
import { mayRetry } from './stream/retry.ts';
import type { RunningStreams } from './stream/running-streams.ts';
import type { Traces } from './stream/trace.ts';
import { Upload, type UploadWatcher, uploadRules } from './stream/upload.ts';

/** What every exchange of a gateway shares. */
export interface ExchangeContext extends AccountContext {
  /** The policy in force now. */
  readonly policy: () => Policy;
  readonly pools: UpstreamPools;
  readonly deadlines: Deadlines;
  readonly streams: RunningStreams;
  readonly traces: Traces;
  /** The gateway closes its connections as their calls end. */
  readonly draining: () => boolean;
}

/** Takes the call from here: it is answered or broken off, and accounted for once, whatever happens. */
export function beginExchange(
  context: ExchangeContext,
  caller: CallerConnection,
  head: RequestHead | Denial,
): void {
  const policy = context.policy();
  const account = new Account(context, caller.standing.under(policy), policy.generation, head);
  if (isDenial(head)) {
    const problem = refusal(head, { requestId: account.requestId });
    caller.write(refusalText(problem, undefined, false));
    account.bytesOut = problem.body.length;
    account.close({ status: statusOf(head), endedBy: 'gateway', denial: head });
    caller.finish(false);
    return;
  }
  const exchange = new Exchange(context, policy, caller, head, account);
  caller.attach(exchange);
  exchange.decide();
}

/** The exchange of a well-formed request. Three ways out: `#complete`, `#refuse` and `#breakOff`. */
class Exchange
  extends Expiring
  implements CallListener, NodeWaiter, UploadWatcher, DownloadWatcher, ReexaminationWatcher
{
  readonly #context: ExchangeContext;
  readonly #policy: Policy;
  readonly #caller: CallerConnection;
  readonly #head: RequestHead;
  readonly #account: Account;
  #admission: Admission | undefined;
  #node: NodeConnection | undefined;
  #upload: Upload | undefined;
  #download: Download | undefined;
  #retried = false;
  #over = false;
  /** When the decision began. */
  readonly #changes: number;
  #reexamination: Reexamination | undefined;

  constructor(
    context: ExchangeContext,
    policy: Policy,
    caller: CallerConnection,
    head: RequestHead,
    account: Account,
  ) {
    super();
    this.#context = context;
    this.#changes = context.streams.changes;
    this.#policy = policy;
    this.#caller = caller;
    this.#head = head;
    this.#account = account;
  }

  decide(): void {
    const { facts: connection } = this.#caller.standing;
    const facts = { connection, head: this.#head, nowMs: Date.now() };
    const decision = decide(this.#policy, facts, this.#account.trail);
    if (decision instanceof Promise) {
      this.#await(decision);
      return;
    }
    if (this.#account.trail.token !== undefined) this.#context.metrics.tokenCache('hit');
    this.#decided(decision);
  }

  onNode(node: NodeConnection, url: string): void {
    const admission = this.#admission;
    if (this.#over || admission === undefined) return;
    this.#node = node;
    this.#account.node = url;
    const hasBody = this.#head.framing.kind !== 'none';
    this.#download = new Download(this.#caller, node, this.#head, this);
    node.begin(
      this.#head.method,
      upstreamText(this.#head, admission, this.#account.requestId, this.#context.traces),
      hasBody,
      this.#download,
    );
    if (hasBody) this.#startUpload(node, admission);
    else this.#awaitResponse();
  }

  onNoNode(denial: Denial): void {
    this.#refuse(denial);
  }

  onUploadEnd(): void {
    if (this.#download?.begun !== true) this.#awaitResponse();
  }

  onUploadDenied(denial: Denial): void {
    this.#refuse(denial);
  }

  onBadBody(reason: string): void {
    this.#refuse(deny('stream', 'bad-request', `The body breaks its framing: ${reason}.`));
  }

  onResponse(_head: ResponseHead): boolean {
    this.#touch();
    return this.#head.keepAlive && this.#caller.bodyDone && !this.#context.draining();
  }

  onDownloadEnd(mayReuse: boolean): void {
    this.#complete(mayReuse && this.#caller.bodyDone);
  }

  /** Once the response has begun its failure can only be shown by breaking it off. */
  onNodeFault(fault: NodeFault): void {
    const cause = `${this.#account.node}: ${fault.reason}`;
    if (this.#download?.begun) this.#breakOff('upstream', cause);
    else if (!this.#retried && mayRetry(this.#head, fault, this.#node?.uses ?? 0)) this.#retry();
    else this.#refuse(deny('node', 'node-failed', 'The node broke off before it answered.', { cause }));
  }

  onCallerGone(): void {
    this.#breakOff('caller', 'the caller closed the connection');
  }

  onCallerDrain(): void {
    this.#touch();
    this.#download?.resume();
  }

  onNodeDrain(): void {
    this.#touch();
    this.#upload?.resume();
  }

  onNodeBusy(): void {
    this.#context.metrics.backpressure('caller');
  }

  onCallerBusy(): void {
    this.#context.metrics.backpressure('node');
  }

  onProgress(): void {
    this.#touch();
  }

  /** Nothing moved for too long: whoever was waited for is to blame. */
  override expire(): void {
    if (this.#download?.begun) {
      const stalled = this.#download.held ? 'caller' : 'upstream';
      this.#breakOff(stalled, `the ${stalled === 'caller' ? 'caller' : 'node'} stood still`);
    } else if (this.#caller.bodyDone || this.#upload?.held) {
      this.#refuse(deny('node', 'node-timeout', 'The node did not answer in time.'));
    } else {
      this.#refuse(deny('stream', 'stream-idle', 'No byte of the body came for too long.'));
    }
  }

  onReexamined(denial: Denial | undefined): void {
    if (this.#over) return;
    this.#context.metrics.reexamination(denial === undefined ? 'kept' : 'ended', denial?.code ?? '');
    if (denial !== undefined) this.#refuse(denial);
  }

  /** Only a token that was not seen before makes the decision wait. */
  #await(decision: Promise<Decision>): void {
    const { metrics } = this.#context;
    metrics.tokenCache('miss');
    decision.then(
      (made) => {
        const { token } = this.#account.trail;
        const outcome = token === undefined && isDenial(made) ? made.code : 'verified';
        metrics.tokenVerification(token?.issuer ?? '', outcome);
        this.#decided(made);
      },
      (error: unknown) =>
        this.#refuse(deny('token', 'overloaded', 'No decision could be made.', { cause: String(error) })),
    );
  }

  #decided(decision: Decision): void {
    if (this.#over) return;
    if (isDenial(decision)) {
      this.#refuse(decision);
      return;
    }
    if (this.#context.draining()) {
      this.#refuse(deny('node', 'draining', 'The gateway is shutting down.', { retryAfterS: 1 }));
      return;
    }
    this.#admission = decision;
    this.#account.admitted(decision);
    const admitted = { head: this.#head, admission: decision };
    this.#reexamination = new Reexamination(this.#context.policy, this.#caller.standing, admitted, this);
    this.#context.streams.add(this.#reexamination, this.#changes);
    this.#context.pools.acquire(decision.route.upstream, this);
  }

  #startUpload(node: NodeConnection, admission: Admission): void {
    const upload = new Upload(this.#caller, node, uploadRules(this.#head, admission), this);
    this.#upload = upload;
    if (this.#head.expectsContinue) this.#caller.write(CONTINUE_TEXT);
    this.#touch();
    this.#caller.readBody(upload);
  }

  /** The request is sent whole: from here the node has its time to the first byte. */
  #awaitResponse(): void {
    const firstByteMs = this.#admission?.route.upstream.firstByteMs;
    if (firstByteMs !== undefined) this.#context.deadlines.arm(this, firstByteMs);
  }

  #retry(): void {
    this.#retried = true;
    this.#node = undefined;
    if (this.#admission !== undefined) this.#context.pools.acquire(this.#admission.route.upstream, this);
  }

  #touch(): void {
    if (!this.#over) this.#context.deadlines.arm(this, this.#policy.gateway.timeouts.streamIdleMs);
  }

  /** The response went out whole. A node that was not sent its whole request must not be used again. */
  #complete(mayReuse: boolean): void {
    const whole = this.#caller.bodyDone;
    if (!this.#end({ status: this.#download?.status ?? 0, endedBy: 'upstream' })) return;
    if (!whole) this.#node?.reset();
    this.#caller.finish(mayReuse);
  }

  /** Says no, unless the answer already runs: then only the broken connection can say it. */
  #refuse(denial: Denial): void {
    if (this.#download?.begun) {
      this.#breakOff('gateway', denial.detail, denial);
      return;
    }
    const reuse = this.#head.keepAlive && this.#caller.bodyDone && !this.#context.draining();
    const { requestId, trail } = this.#account;
    const problem = refusal(denial, { requestId, ...(trail.tenant && { realm: trail.tenant.name }) });
    this.#account.bytesOut = this.#head.method === 'HEAD' ? 0 : problem.body.length;
    if (!this.#end({ status: problem.status, endedBy: 'gateway', denial })) return;
    this.#node?.reset();
    this.#caller.write(refusalText(problem, this.#head, reuse));
    this.#caller.finish(reuse);
  }

  /** Shows both sides a broken connection: the node a reset, the caller an answer without its end. */
  #breakOff(endedBy: EndedBy, cause: string, denial?: Denial): void {
    const status = this.#download?.begun ? this.#download.status : CALLER_GONE;
    if (!this.#end({ status, endedBy, cause, ...(denial && { denial }) })) return;
    this.#node?.reset();
    this.#caller.abort();
  }

  /** Accounts for the exchange; true the first time, and only then. */
  #end(ending: Ending): boolean {
    if (this.#over) return false;
    this.#over = true;
    if (this.#reexamination !== undefined) this.#context.streams.delete(this.#reexamination);
    this.#context.deadlines.disarm(this);
    this.#upload?.stop();
    this.#download?.stop();
    this.#account.streamed(this.#upload, this.#download);
    this.#account.close(ending);
    return true;
  }
}
