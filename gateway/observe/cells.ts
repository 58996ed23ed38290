/** The series of one metric as plain numbers: each is made once, and then held by whoever feeds it. */

/** One time series. The owner adds to or sets `value`; a counter only grows. */
export interface Cell {
  value: number;
}

/** A series and its label values, in the order of the label names. */
export interface Series {
  readonly cell: Cell;
  readonly labels: readonly string[];
}

/** A label value after another: finding a series makes no key of them. */
class Branch {
  readonly below = new Map<string, Branch>();
  cell: Cell | undefined;
}

export class Cells {
  #root = new Branch();
  readonly #series: Series[] = [];

  /** Every series, in the order they were made. */
  get series(): readonly Series[] {
    return this.#series;
  }

  /** The series with these label values. Present from now on, at 0. */
  cell(...labels: readonly string[]): Cell {
    let branch = this.#root;
    for (const value of labels) {
      let next = branch.below.get(value);
      if (next === undefined) {
        next = new Branch();
        branch.below.set(value, next);
      }
      branch = next;
    }
    branch.cell ??= this.#begin(labels);
    return branch.cell;
  }

  /** Forgets every series: for metrics whose label values come and go with the policy. */
  clear(): void {
    this.#root = new Branch();
    this.#series.length = 0;
  }

  #begin(labels: readonly string[]): Cell {
    const cell = { value: 0 };
    this.#series.push({ cell, labels });
    return cell;
  }
}
