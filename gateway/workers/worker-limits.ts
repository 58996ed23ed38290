/** The limits of routes as a worker knows them: the primary counts, for the gateway as a whole. */

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

type Given = Extract<ToWorker, { kind: 'claimed' | 'spent' }>;
type Answer = LimitRefusal | GrantedLease;

/** A primary that has not answered for so long is not waited for: the request is refused as `overloaded`. */
const PATIENCE_MS = 5000;
const LOOK_MS = 1000;

interface Asked {
  readonly sinceMs: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerLimits implements LimitsBackend {
  readonly #channel: WorkerEnd;
  /** The oldest first. */
  readonly #asked = new Map<number, Asked>();
  readonly #leases = new Map<number, AskedLease>();
  #lastId = 0;

  constructor(channel: WorkerEnd) {
    this.#channel = channel;
    setInterval(() => this.giveUp(performance.now()), LOOK_MS).unref();
  }

  async claim(claim: LimitClaim, nowMs: number): Promise<LimitLease | LimitRefusal> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#channel.send({ kind: 'claim', id, claim });
    const answer = await new Promise<Answer>((resolve, reject) => {
      this.#asked.set(id, { sinceMs: nowMs, resolve, reject });
    });
    return answer.kind === 'refusal' ? answer : this.#lease(id, answer);
  }

  onGiven(given: Given): void {
    if (given.kind === 'spent') {
      this.#leases.get(given.id)?.onSpent(given.spent, given.paidBytes);
      return;
    }
    const { id, answer } = given;
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.resolve(answer);
    // Nobody waits for it any more.
    if (asked === undefined && answer.kind === 'lease')
      this.#channel.send({ kind: 'release', id, totalBytes: 0 });
  }

  /** Of what was asked too long ago. */
  giveUp(nowMs: number): void {
    for (const [id, { sinceMs, reject }] of this.#asked) {
      if (nowMs - sinceMs < PATIENCE_MS) return;
      this.#asked.delete(id);
      reject(new Error('the primary does not answer'));
    }
  }

  #lease(id: number, granted: GrantedLease): LimitLease {
    const lease = new AskedLease(
      granted,
      (totalBytes) => this.#channel.send({ kind: 'spend', id, totalBytes }),
      (totalBytes) => {
        this.#leases.delete(id);
        this.#channel.send({ kind: 'release', id, totalBytes });
      },
    );
    this.#leases.set(id, lease);
    return lease;
  }
}

/** What the primary holds for one request here. */
class AskedLease implements LimitLease {
  readonly kind = 'lease';
  readonly backend: LimitDecider;
  readonly left: LimitsLeft;
  /** As the primary last said. */
  paidBytes: number;
  readonly #ask: (totalBytes: number) => void;
  readonly #end: (totalBytes: number) => void;
  #onSpent: ((spent: Spent) => void) | undefined;

  constructor(
    { backend, left, paidBytes }: GrantedLease,
    ask: (totalBytes: number) => void,
    end: (totalBytes: number) => void,
  ) {
    this.backend = backend;
    this.left = left;
    this.paidBytes = paidBytes;
    this.#ask = ask;
    this.#end = end;
  }

  spend(totalBytes: number): Promise<Spent> {
    const { promise, resolve } = Promise.withResolvers<Spent>();
    this.#onSpent = resolve;
    this.#ask(totalBytes);
    return promise;
  }

  onSpent(spent: Spent, paidBytes: number): void {
    this.paidBytes = paidBytes;
    this.#onSpent?.(spent);
  }

  release(totalBytes: number): void {
    this.#end(totalBytes);
  }
}
