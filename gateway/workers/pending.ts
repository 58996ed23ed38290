/** A worker's questions to its primary that are not answered yet. */

/** A question not answered within this time is given up. */
const PATIENCE_MS = 5000;

interface Asked<Answer> {
  readonly sinceMs: number;
  readonly settle: (answer: Answer | undefined) => void;
}

export class Pending<Answer> {
  /** Oldest first. */
  readonly #asked = new Map<number, Asked<Answer>>();
  #lastId = 0;

  /** Returns the id to ask with. Calls `settle` once: with the answer, or undefined if none came in time. */
  ask(nowMs: number, settle: (answer: Answer | undefined) => void): number {
    this.#lastId += 1;
    this.#asked.set(this.#lastId, { sinceMs: nowMs, settle });
    return this.#lastId;
  }

  /** Returns false if the question was given up before. */
  answer(id: number, answer: Answer): boolean {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.settle(answer);
    return asked !== undefined;
  }

  /** Gives up questions asked too long ago. Times are monotonic milliseconds. */
  giveUp(nowMs: number): void {
    for (const [id, { sinceMs, settle }] of this.#asked) {
      if (nowMs - sinceMs < PATIENCE_MS) return;
      this.#asked.delete(id);
      settle(undefined);
    }
  }
}
