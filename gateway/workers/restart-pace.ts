/** How long a worker that has ended waits to be replaced: not at all, unless workers come up only to die again. */

/** One that ran for less has died young. */
const YOUNG_MS = 10_000;
/** So many in a row are replaced at once: somebody kills them, or one request did. */
const AT_ONCE = 5;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 5000;

export class RestartPace {
  #diedYoung = 0;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** One has ended that ran for so long. Milliseconds until the next one, twice as many each time; monotonic times. */
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
