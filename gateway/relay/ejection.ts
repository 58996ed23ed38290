/** Takes a node out for what came of its requests, each time in a row for longer. */

import type { EjectionSettings } from '../policy/upstream.ts';

/** Times are on one monotonic clock, in milliseconds. */
export class Ejection {
  readonly #settings: EjectionSettings;
  /** In a row. */
  #failures = 0;
  #times = 0;
  #forMs = 0;
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(settings: EjectionSettings) {
    this.#settings = settings;
  }

  isOut(nowMs: number): boolean {
    return nowMs < this.#untilMs;
  }

  /** When it came back, or will. */
  get untilMs(): number {
    return this.#untilMs;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** True: it is out from now on. `mayGo` says whether enough others are left. */
  failed(nowMs: number, mayGo: () => boolean): boolean {
    if (this.isOut(nowMs)) return false;
    this.#failures += 1;
    if (this.#failures < this.#settings.consecutiveFailures || !mayGo()) return false;
    // Who has served for as long as it was out begins anew.
    this.#times = nowMs - this.#untilMs > this.#forMs ? 1 : this.#times + 1;
    this.#forMs = Math.min(this.#settings.forMs * this.#times, this.#settings.maxForMs);
    this.#untilMs = nowMs + this.#forMs;
    this.#failures = 0;
    return true;
  }
}
