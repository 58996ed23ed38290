/** What a worker has asked its primary and was not told yet. */

/** A primary that has not answered for so long is not waited for. */
const PATIENCE_MS = 5000;

interface Asked<Answer> {
  readonly sinceMs: number;
  readonly settle: (answer: Answer | undefined) => void;
}

export class Pending<Answer> {
  /** The oldest first. */
  readonly #asked = new Map<number, Asked<Answer>>();
  #lastId = 0;

  /** The id to ask with; `settle` is called once, with nothing where there came no answer in time. */
  ask(nowMs: number, settle: (answer: Answer | undefined) => void): number {
    this.#lastId += 1;
    this.#asked.set(this.#lastId, { sinceMs: nowMs, settle });
    return this.#lastId;
  }

  /** False when nobody waits for it any more. */
  answer(id: number, answer: Answer): boolean {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.settle(answer);
    return asked !== undefined;
  }

  /** What was asked too long ago is not waited for. Times are monotonic milliseconds. */
  giveUp(nowMs: number): void {
    for (const [id, { sinceMs, settle }] of this.#asked) {
      if (nowMs - sinceMs < PATIENCE_MS) return;
      this.#asked.delete(id);
      settle(undefined);
    }
  }
}
