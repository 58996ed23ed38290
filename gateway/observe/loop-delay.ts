/**
 * Measures the delay of the event loop by how late an existing timer fires. The runtime's histogram would need a timer
 * of its own and wake the process more often than is necessary to notice a stall.
 */

/** Long enough that a scrape does not miss what happened since the last one, with any number of scrapers. */
const WINDOW_MS = 30_000;

export class LoopDelay {
  readonly #everyMs: number;
  #lastMs: number;
  #windowEndsMs: number;
  #longestMs = 0;
  #longestBeforeMs = 0;

  /** The timer must fire every `everyMs` from now on. Times are those of `performance.now()`. */
  constructor(everyMs: number, nowMs: number) {
    this.#everyMs = everyMs;
    this.#lastMs = nowMs;
    this.#windowEndsMs = nowMs + WINDOW_MS;
  }

  /** Call this when the timer fires. */
  turn(nowMs: number): void {
    if (nowMs >= this.#windowEndsMs) {
      this.#longestBeforeMs = this.#longestMs;
      this.#longestMs = 0;
      this.#windowEndsMs = nowMs + WINDOW_MS;
    }
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs - this.#everyMs);
    this.#lastMs = nowMs;
  }

  /** The longest delay of the last 30 to 60 seconds. */
  get longestSeconds(): number {
    return Math.max(this.#longestMs, this.#longestBeforeMs) / 1000;
  }
}
