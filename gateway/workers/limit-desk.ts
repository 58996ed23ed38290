/** The primary's side of the limits of one worker: claims are taken for it, and given back when it ends. */

import type { LimitClaim, LimitLease, LimitsBackend } from '../limits/limits-backend.ts';
import type { FromWorker, GrantedLease, PrimaryEnd } from './messages.ts';

interface Held {
  readonly lease: LimitLease;
  totalBytes: number;
}

type Asked = Extract<FromWorker, { kind: 'claim' | 'spend' | 'release' }>;

export class LimitDesk {
  readonly #limits: LimitsBackend;
  readonly #send: PrimaryEnd['send'];
  readonly #onFault: (error: unknown) => void;
  readonly #held = new Map<number, Held>();
  #closed = false;

  /** `onFault` hears that the worker asked for what cannot be. */
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

  /** The worker is gone: everything it held is given back, with the bytes it last told of. */
  close(): void {
    this.#closed = true;
    for (const [id, { totalBytes }] of this.#held) this.#release(id, totalBytes);
  }

  async #claim(id: number, claim: LimitClaim): Promise<void> {
    const answer = await this.#limits.claim(claim, performance.now());
    if (answer.kind === 'refusal') {
      this.#send({ kind: 'claimed', id, answer });
      return;
    }
    this.#held.set(id, { lease: answer, totalBytes: 0 });
    if (this.#closed) this.#release(id, 0);
    else this.#send({ kind: 'claimed', id, answer: granted(answer) });
  }

  async #spend(id: number, totalBytes: number): Promise<void> {
    const held = this.#held.get(id);
    if (held === undefined) return;
    held.totalBytes = totalBytes;
    const spent = await held.lease.spend(totalBytes, performance.now());
    this.#send({ kind: 'spent', id, spent, paidBytes: held.lease.paidBytes });
  }

  #release(id: number, totalBytes: number): void {
    const held = this.#held.get(id);
    this.#held.delete(id);
    held?.lease.release(totalBytes, performance.now());
  }
}

function granted({ kind, backend, left, paidBytes }: LimitLease): GrantedLease {
  return { kind, backend, left, paidBytes };
}
