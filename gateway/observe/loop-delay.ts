/**
 * How late the event loop of this process comes to a timer that is there anyway. A histogram of the runtime would look
 * more often, and wake the process each time, which nobody needs to see a stall.
 */

/** A scrape must not miss what happened since the one before, however many scrape. */
const WINDOW_MS = 30_000;

export class LoopDelay {
  readonly #everyMs: number;
  #lastMs: number;
  #windowEndsMs: number;
  #longestMs = 0;
  #longestBeforeMs = 0;

  /** The timer comes every `everyMs`, from now on. Times are of `performance.now()`. */
  constructor(everyMs: number, nowMs: number) {
    this.#everyMs = everyMs;
    this.#lastMs = nowMs;
    this.#windowEndsMs = nowMs + WINDOW_MS;
  }

  /** The timer has come. */
  turn(nowMs: number): void {
    if (nowMs >= this.#windowEndsMs) {
      this.#longestBeforeMs = this.#longestMs;
      this.#longestMs = 0;
      this.#windowEndsMs = nowMs + WINDOW_MS;
    }
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs - this.#everyMs);
    this.#lastMs = nowMs;
  }

  /** The longest of the last 30 to 60 seconds. */
  get longestSeconds(): number {
    return Math.max(this.#longestMs, this.#longestBeforeMs) / 1000;
  }
}
