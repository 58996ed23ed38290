/** The series of one metric as plain numbers, each created once and then held by its owner. */

/** One time series. The owner adds to or sets `value`; a counter only grows. */
export interface Cell {
  value: number;
}

/** A series and its label values, in the order of the label names. */
export interface Series {
  readonly cell: Cell;
  readonly labels: readonly string[];
}

/** A trie over label values, so that finding a series need not concatenate them to a key. */
class Branch {
  readonly below = new Map<string, Branch>();
  cell: Cell | undefined;
}

export class Cells {
  #root = new Branch();
  readonly #series: Series[] = [];

  /** All series, in order of creation. */
  get series(): readonly Series[] {
    return this.#series;
  }

  /** Returns the series with these label values; creates it with value 0 if necessary. */
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

  /** Removes all series; for metrics whose label values come and go with the policy. */
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
