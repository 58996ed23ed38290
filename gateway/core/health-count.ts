/** Whether a node is healthy: several checks in a row change its state, but the first check decides alone. */

export interface HealthThresholds {
  /** Checks in a row. */
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
}

/** A node starts as healthy, so that a new gateway refuses no request before the first checks. */
export class HealthCount {
  readonly #thresholds: HealthThresholds;
  #isWell = true;
  #isFirst = true;
  /** Checks in a row that contradict the state. */
  #against = 0;

  constructor(thresholds: HealthThresholds) {
    this.#thresholds = thresholds;
  }

  get isWell(): boolean {
    return this.#isWell;
  }

  /** Counts a check. Returns true if the state changed. */
  count(isGood: boolean): boolean {
    const { unhealthyAfter, healthyAfter } = this.#thresholds;
    const needed = this.#isFirst ? 1 : this.#isWell ? unhealthyAfter : healthyAfter;
    this.#isFirst = false;
    this.#against = isGood === this.#isWell ? 0 : this.#against + 1;
    if (this.#against < needed) return false;
    this.#isWell = isGood;
    this.#against = 0;
    return true;
  }
}
