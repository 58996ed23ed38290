/** The delay before a dead worker is replaced: none, unless workers keep dying soon after they come up. */

/** A worker that ran for less than this has died young. */
const YOUNG_MS = 10_000;
/** Young deaths in a row that are replaced without delay: someone kills workers, or one request did. */
const AT_ONCE = 5;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 5000;

export class RestartPace {
  #diedYoung = 0;
  #lastMs = Number.NEGATIVE_INFINITY;

  /**
   * Counts the death of a worker that ran for `ranMs`. Returns the milliseconds to wait before it is replaced, which
   * double from one young death to the next. Times are monotonic.
   */
  pauseMs(ranMs: number, nowMs: number): number {
    const isCalm = nowMs - this.#lastMs > MAX_PAUSE_MS + YOUNG_MS;
    if (ranMs >= YOUNG_MS || isCalm) this.#diedYoung = 0;
    if (ranMs >= YOUNG_MS) return 0;
    this.#lastMs = nowMs;
    this.#diedYoung += 1;
    if (this.#diedYoung <= AT_ONCE) return 0;
    return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#diedYoung - AT_ONCE - 1));
  }
}
