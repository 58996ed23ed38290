/** The limits of routes as a worker knows them: the primary counts, for the gateway as a whole. */

import type { LimitClaim, LimitLease, LimitRefusal, LimitsBackend } from '../limits/limits-backend.ts';
import type { ToWorker, WorkerEnd } from './messages.ts';

/** The largest part of a byte budget a stream uses before it is told, and the most bytes. */
const UNTOLD_PART = 1 / 64;
const UNTOLD_BYTES = 1 << 20;

type Given = Extract<ToWorker, { kind: 'claimed' | 'spent' }>;

export class WorkerLimits implements LimitsBackend {
  readonly name = 'local';
  readonly #channel: WorkerEnd;
  readonly #asked = new Map<number, (refusal: LimitRefusal | undefined) => void>();
  readonly #leases = new Map<number, AskedLease>();
  #lastId = 0;

  constructor(channel: WorkerEnd) {
    this.#channel = channel;
  }

  /** Settled when the primary has answered; a worker does not outlive its primary. */
  claim(claim: LimitClaim): Promise<LimitLease | LimitRefusal> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#channel.send({ kind: 'claim', id, claim });
    return new Promise((resolve) => {
      this.#asked.set(id, (refusal) => resolve(refusal ?? this.#lease(id, claim)));
    });
  }

  onGiven(given: Given): void {
    if (given.kind === 'spent') {
      const lease = this.#leases.get(given.id);
      if (lease !== undefined) lease.waitMs = given.waitMs;
      return;
    }
    this.#asked.get(given.id)?.(given.refusal);
    this.#asked.delete(given.id);
  }

  #lease(id: number, claim: LimitClaim): LimitLease {
    const lease = new AskedLease(
      claim,
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

/** Tells what has flowed in parts; what comes of it is known at the next look. */
class AskedLease implements LimitLease {
  readonly kind = 'lease';
  /** As the primary last said. */
  waitMs = 0;
  readonly #partBytes: number;
  readonly #tell: (totalBytes: number) => void;
  readonly #end: (totalBytes: number) => void;
  #toldBytes: number;

  constructor(
    { limits, declaredBytes }: LimitClaim,
    tell: (totalBytes: number) => void,
    end: (totalBytes: number) => void,
  ) {
    const budget = limits.bytes?.count ?? Number.POSITIVE_INFINITY;
    this.#partBytes = limits.bytes === undefined ? budget : Math.min(UNTOLD_BYTES, budget * UNTOLD_PART);
    this.#toldBytes = declaredBytes;
    this.#tell = tell;
    this.#end = end;
  }

  spend(totalBytes: number): number {
    if (totalBytes - this.#toldBytes >= this.#partBytes) {
      this.#toldBytes = totalBytes;
      this.#tell(totalBytes);
    }
    return this.waitMs;
  }

  release(totalBytes: number): void {
    this.#end(totalBytes);
  }
}
