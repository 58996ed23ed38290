/** Takes a node out of rotation after failed requests in a row, for longer each time. */

import type { EjectionSettings } from '../policy/upstream.ts';

/** Times are milliseconds on one monotonic clock. */
export class Ejection {
  readonly #settings: EjectionSettings;
  /** Failures in a row. */
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

  /** When the last ejection ended or will end; -Infinity if there was none. */
  get untilMs(): number {
    return this.#untilMs;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** Returns true if the node is out from now on. `mayGo` says whether enough others are left. */
  failed(nowMs: number, mayGo: () => boolean): boolean {
    if (this.isOut(nowMs)) return false;
    this.#failures += 1;
    if (this.#failures < this.#settings.consecutiveFailures || !mayGo()) return false;
    // A node that has served for longer than its last ejection starts over.
    this.#times = nowMs - this.#untilMs > this.#forMs ? 1 : this.#times + 1;
    this.#forMs = Math.min(this.#settings.forMs * this.#times, this.#settings.maxForMs);
    this.#untilMs = nowMs + this.#forMs;
    this.#failures = 0;
    return true;
  }
}
