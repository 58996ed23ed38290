/** Checks on running streams: the caller's pace and a tunnel's age periodically, the byte budget as bytes flow. */

import { type Deadlines, Expiring } from '../core/deadlines.ts';
import { type Denial, deny } from '../core/denial.ts';
import type { Admission } from '../decide.ts';
import type { LimitLease, Spent } from '../limits/limits-backend.ts';
import type { Route } from '../policy/policy.ts';
import { limitDenial, uncheckedDenial } from './limit-claim.ts';
import { SendingPace, TakingPace } from './pace.ts';

export interface SupervisionWatcher {
  /** Body bytes from the caller so far. */
  readonly bytesIn: number;
  /** Body bytes to the caller so far. */
  readonly bytesOut: number;
  /** Those of `bytesOut` that the caller's connection has taken. */
  readonly takenBytes: number;
  /** While the byte budget is being asked, nothing more should flow. */
  onBudgetAsked(isAsked: boolean): void;
  /** The stream must end. */
  onCut(denial: Denial): void;
  /** The tunnel has reached its maximum age. */
  onTunnelOver(): void;
}

const MAX_TICK_MS = 1000;
/** Checks per grace period of a minimum rate. */
const LOOKS = 4;

/** Created with a stream whose route `isSupervised`, and stopped with it. */
export class Supervision extends Expiring {
  readonly sending: SendingPace | undefined;
  readonly taking: TakingPace | undefined;
  readonly #deadlines: Deadlines;
  readonly #admission: Admission;
  readonly #lease: LimitLease | undefined;
  readonly #watcher: SupervisionWatcher;
  readonly #endsAtMs: number;
  readonly #tickMs: number;
  #isAsking = false;
  #stopped = false;

  constructor(
    admission: Admission,
    lease: LimitLease | undefined,
    deadlines: Deadlines,
    watcher: SupervisionWatcher,
  ) {
    super();
    const { route } = admission;
    const minRate = route.stream?.minRate;
    const clock = (): number => deadlines.timeAt(performance.now());
    this.sending = minRate && new SendingPace(minRate, clock);
    this.taking = minRate && new TakingPace(minRate, clock);
    this.#admission = admission;
    this.#lease = lease;
    this.#deadlines = deadlines;
    this.#watcher = watcher;
    this.#endsAtMs = performance.now() + (route.upgrade?.lifetimeMs ?? Number.POSITIVE_INFINITY);
    this.#tickMs = Math.min(
      MAX_TICK_MS,
      (minRate?.graceMs ?? MAX_TICK_MS * LOOKS) / LOOKS,
      route.upgrade?.lifetimeMs ?? MAX_TICK_MS,
    );
    deadlines.arm(this, this.#tickMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#deadlines.disarm(this);
  }

  /** More bytes have flowed. */
  onBytes(): void {
    if (this.#lease === undefined) return;
    const bytes = this.#watcher.bytesIn + this.#watcher.bytesOut;
    if (bytes <= this.#lease.paidBytes || this.#isAsking) return;
    const spent = this.#lease.spend(bytes, performance.now());
    if (!(spent instanceof Promise)) {
      this.#judge(spent);
      return;
    }
    this.#setAsking(true);
    void spent.then(
      (answer) => {
        if (this.#stopped) return;
        this.#setAsking(false);
        this.#judge(answer);
      },
      (error: unknown) => {
        if (!this.#stopped) this.#watcher.onCut(uncheckedDenial(error));
      },
    );
  }

  override expire(): void {
    const nowMs = performance.now();
    const denial = this.#objection();
    if (denial !== undefined) this.#watcher.onCut(denial);
    else if (nowMs >= this.#endsAtMs) this.#watcher.onTunnelOver();
    else this.#deadlines.arm(this, this.#tickMs);
  }

  #setAsking(isAsking: boolean): void {
    this.#isAsking = isAsking;
    this.#watcher.onBudgetAsked(isAsking);
  }

  #judge(spent: Spent): void {
    if (spent !== undefined) this.#watcher.onCut(limitDenial(spent, this.#admission));
  }

  #objection(): Denial | undefined {
    if (this.sending?.isTooSlow(this.#watcher.bytesIn)) return tooSlow('The body arrives too slowly.');
    if (this.taking?.isTooSlow(this.#watcher.takenBytes)) return tooSlow('The response is read too slowly.');
    return undefined;
  }
}

export function isSupervised({ stream, limits, upgrade }: Route): boolean {
  return stream?.minRate !== undefined || limits?.bytes !== undefined || upgrade !== undefined;
}

function tooSlow(detail: string): Denial {
  return deny('stream', 'too-slow', detail, { rule: 'stream.minRate' });
}
