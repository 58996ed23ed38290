/** The limits of routes as a worker knows them: the primary counts, for the gateway as a whole. */

import type { LimitClaim, LimitLease, LimitRefusal, LimitsBackend } from '../limits/limits-backend.ts';
import type { ToWorker, WorkerEnd } from './messages.ts';

/** The largest part of a byte budget a stream uses before it is told, and the most bytes. */
const UNTOLD_PART = 1 / 64;
const UNTOLD_BYTES = 1 << 20;

type Given = Extract<ToWorker, { kind: 'claimed' | 'spent' }>;

/** A primary that has not answered for so long is not waited for: the request is refused as `overloaded`. */
const PATIENCE_MS = 5000;
const LOOK_MS = 1000;

interface Asked {
  readonly sinceMs: number;
  readonly resolve: (refusal: LimitRefusal | undefined) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerLimits implements LimitsBackend {
  readonly name = 'local';
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
    const refusal = await new Promise<LimitRefusal | undefined>((resolve, reject) => {
      this.#asked.set(id, { sinceMs: nowMs, resolve, reject });
    });
    return refusal ?? this.#lease(id, claim);
  }

  onGiven(given: Given): void {
    if (given.kind === 'spent') {
      const lease = this.#leases.get(given.id);
      if (lease !== undefined) lease.waitMs = given.waitMs;
      return;
    }
    const { id, refusal } = given;
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.resolve(refusal);
    // Nobody waits for it any more.
    if (asked === undefined && refusal === undefined)
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
