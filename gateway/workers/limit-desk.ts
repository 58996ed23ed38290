/** The primary's side of one worker's limits: claims leases for it, and releases them when it ends. */

import type { LimitClaim, LimitLease, LimitsBackend } from '../limits/limits-backend.ts';
import type { FromWorker, GrantedLease, PrimaryEnd } from './messages.ts';

type Asked = Extract<FromWorker, { kind: 'claim' | 'spend' | 'release' }>;

export class LimitDesk {
  readonly #limits: LimitsBackend;
  readonly #send: PrimaryEnd['send'];
  readonly #onFault: (error: unknown) => void;
  readonly #held = new Map<number, LimitLease>();
  #closed = false;

  /** `onFault` is called if a claim or spend of the worker throws. */
  constructor(limits: LimitsBackend, send: PrimaryEnd['send'], onFault: (error: unknown) => void) {
    this.#limits = limits;
    this.#send = send;
    this.#onFault = onFault;
  }

  onAsked(asked: Asked): void {
    if (asked.kind === 'claim') this.#claim(asked.id, asked.claim).catch(this.#onFault);
    else if (asked.kind === 'spend') this.#spend(asked.id, asked.totalBytes).catch(this.#onFault);
    else this.#release(asked.id, asked.totalBytes);
  }

  /**
   * The worker is gone: releases all its leases. Bytes that are paid for count as used, since they may have flowed
   * without a report.
   */
  close(): void {
    this.#closed = true;
    for (const [id, { paidBytes }] of this.#held) this.#release(id, paidBytes);
  }

  async #claim(id: number, claim: LimitClaim): Promise<void> {
    const answer = await this.#limits.claim(claim, performance.now());
    if (answer.kind === 'refusal') {
      this.#send({ kind: 'claimed', id, answer });
      return;
    }
    this.#held.set(id, answer);
    if (this.#closed) this.#release(id, 0);
    else this.#send({ kind: 'claimed', id, answer: granted(answer) });
  }

  async #spend(id: number, totalBytes: number): Promise<void> {
    const lease = this.#held.get(id);
    if (lease === undefined) return;
    const spent = await lease.spend(totalBytes, performance.now());
    this.#send({ kind: 'spent', id, spent, paidBytes: lease.paidBytes });
  }

  #release(id: number, totalBytes: number): void {
    const lease = this.#held.get(id);
    this.#held.delete(id);
    lease?.release(totalBytes, performance.now());
  }
}

function granted({ kind, backend, left, paidBytes }: LimitLease): GrantedLease {
  return { kind, backend, left, paidBytes };
}
