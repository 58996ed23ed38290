/** The limits of routes in a worker: asks the primary, which counts for the whole gateway. */

import type {
  LimitClaim,
  LimitDecider,
  LimitLease,
  LimitRefusal,
  LimitsBackend,
  LimitsLeft,
  Spent,
} from '../limits/limits-backend.ts';
import type { GrantedLease, ToWorker, WorkerEnd } from './messages.ts';
import { Pending } from './pending.ts';

type Given = Extract<ToWorker, { kind: 'claimed' | 'spent' }>;
type GivenSpent = Extract<Given, { kind: 'spent' }>;
type Answer = LimitRefusal | GrantedLease;
/** Asks whether `totalBytes` may flow. Returns the id of the question; calls `settle` with undefined if no answer came in time. */
type AskToSpend = (
  totalBytes: number,
  nowMs: number,
  settle: (answer: GivenSpent | undefined) => void,
) => number;

const NO_ANSWER = 'the primary does not answer';

/** Limit on claims not yet taken by the primary. */
const MAX_UNSENT = 4096;

export class WorkerLimits implements LimitsBackend {
  readonly #channel: WorkerEnd;
  readonly #pending = new Pending<Answer>();
  readonly #spends = new Pending<GivenSpent>();
  readonly #leases = new Map<number, AskedLease>();
  #unsent = 0;

  constructor(channel: WorkerEnd) {
    this.#channel = channel;
  }

  /** Rejects if the primary does not answer or is too busy: the request is refused as `overloaded`. */
  async claim(claim: LimitClaim, nowMs: number): Promise<LimitLease | LimitRefusal> {
    if (this.#unsent >= MAX_UNSENT) throw new Error('too many claims wait for the primary');
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
    const id = this.#pending.ask(nowMs, resolve);
    this.#unsent += 1;
    this.#channel.send({ kind: 'claim', id, claim }, () => {
      this.#unsent -= 1;
    });
    const answer = await promise;
    if (answer === undefined) throw new Error(NO_ANSWER);
    return answer.kind === 'refusal' ? answer : this.#lease(id, answer);
  }

  onGiven(given: Given): void {
    if (given.kind === 'spent') {
      const lease = this.#leases.get(given.id);
      if (lease !== undefined) this.#spends.answer(lease.askedAs, given);
      return;
    }
    const { id, answer } = given;
    const isWanted = this.#pending.answer(id, answer);
    if (!isWanted && answer.kind === 'lease') this.#channel.send({ kind: 'release', id, totalBytes: 0 });
  }

  /** Rejects claims made too long ago. */
  giveUp(nowMs: number): void {
    this.#pending.giveUp(nowMs);
    this.#spends.giveUp(nowMs);
  }

  #lease(id: number, granted: GrantedLease): LimitLease {
    const lease = new AskedLease(
      granted,
      (totalBytes, nowMs, settle) => {
        const askedAs = this.#spends.ask(nowMs, settle);
        this.#channel.send({ kind: 'spend', id, totalBytes });
        return askedAs;
      },
      (totalBytes) => {
        this.#leases.delete(id);
        this.#channel.send({ kind: 'release', id, totalBytes });
      },
    );
    this.#leases.set(id, lease);
    return lease;
  }
}

/** A lease that the primary holds for a request of this worker. */
class AskedLease implements LimitLease {
  readonly kind = 'lease';
  readonly backend: LimitDecider;
  readonly left: LimitsLeft;
  /** As last reported by the primary. */
  paidBytes: number;
  /** Id of its last question. */
  askedAs = 0;
  readonly #ask: AskToSpend;
  readonly #end: (totalBytes: number) => void;

  constructor(
    { backend, left, paidBytes }: GrantedLease,
    ask: AskToSpend,
    end: (totalBytes: number) => void,
  ) {
    this.backend = backend;
    this.left = left;
    this.paidBytes = paidBytes;
    this.#ask = ask;
    this.#end = end;
  }

  async spend(totalBytes: number, nowMs: number): Promise<Spent> {
    const { promise, resolve } = Promise.withResolvers<GivenSpent | undefined>();
    this.askedAs = this.#ask(totalBytes, nowMs, resolve);
    const answer = await promise;
    if (answer === undefined) throw new Error(NO_ANSWER);
    this.paidBytes = answer.paidBytes;
    return answer.spent;
  }

  release(totalBytes: number): void {
    this.#end(totalBytes);
  }
}
