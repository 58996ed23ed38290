/** Whether a node is well, by the checks of it: several in a row change what is believed, the first decides alone. */

export interface HealthThresholds {
  /** Checks in a row. */
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
}

/** A node begins as well: at the start of a gateway nobody is turned away before anything is known. */
export class HealthCount {
  readonly #thresholds: HealthThresholds;
  #isWell = true;
  #isFirst = true;
  /** Checks in a row that say the other thing. */
  #against = 0;

  constructor(thresholds: HealthThresholds) {
    this.#thresholds = thresholds;
  }

  get isWell(): boolean {
    return this.#isWell;
  }

  /** Counts a check; true when what is believed has changed. */
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
