/** Counters and gauges as plain numbers: adding costs an addition, the registry is filled when it is scraped. */

import { Counter, Gauge, type Registry } from 'prom-client';

/** One row of the table of metrics, as the README prints it. */
export interface MetricRow {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
}

/** One time series. The owner adds to or sets `value`; a counter only grows. */
export interface Cell {
  value: number;
}

interface Series {
  readonly cell: Cell;
  readonly labels: Record<string, string>;
}

/** A label value after another: finding a series makes no key of them. */
class Branch {
  readonly below = new Map<string, Branch>();
  cell: Cell | undefined;
}

/** All series of one metric, each made once and then held by whoever feeds it. */
export class Tally {
  readonly #labelNames: readonly string[];
  #root = new Branch();
  readonly #series: Series[] = [];

  constructor(row: MetricRow, registry: Registry) {
    this.#labelNames = row.labels;
    const { name, help } = row;
    const common = { name, help, labelNames: [...row.labels], registers: [registry] };
    const fill = (metric: Filled): void => this.#fill(metric);
    if (row.type === 'counter') {
      new Counter({
        ...common,
        collect() {
          fill(this);
        },
      });
    } else {
      new Gauge({
        ...common,
        collect() {
          fill(this);
        },
      });
    }
  }

  /** The series with these label values, in the order of the label names. Present from now on, at 0. */
  cell(...values: readonly string[]): Cell {
    let branch = this.#root;
    for (const value of values) {
      let next = branch.below.get(value);
      if (next === undefined) {
        next = new Branch();
        branch.below.set(value, next);
      }
      branch = next;
    }
    branch.cell ??= this.#begin(values);
    return branch.cell;
  }

  /** Forgets every series: for metrics whose label values come and go with the policy. */
  clear(): void {
    this.#root = new Branch();
    this.#series.length = 0;
  }

  #begin(values: readonly string[]): Cell {
    const labels = Object.fromEntries(this.#labelNames.map((name, i) => [name, values[i] ?? '']));
    const cell = { value: 0 };
    this.#series.push({ cell, labels });
    return cell;
  }

  #fill(metric: Filled): void {
    metric.reset();
    for (const { labels, cell } of this.#series) metric.inc(labels, cell.value);
  }
}

interface Filled {
  reset(): void;
  inc(labels: Record<string, string>, value: number): void;
}
