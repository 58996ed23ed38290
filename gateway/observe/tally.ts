/** Counters and gauges as plain numbers: adding costs an addition, the registry is filled when it is scraped. */

import { Counter, Gauge, type Registry } from 'prom-client';
import { Cells } from './cells.ts';

/** One row of the table of metrics, as the README prints it. */
export interface MetricRow {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
}

export class Tally extends Cells {
  readonly #labelNames: readonly string[];

  constructor(row: MetricRow, registry: Registry) {
    super();
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

  #fill(metric: Filled): void {
    metric.reset();
    for (const { labels, cell } of this.series) {
      metric.inc(Object.fromEntries(this.#labelNames.map((name, i) => [name, labels[i] ?? ''])), cell.value);
    }
  }
}

interface Filled {
  reset(): void;
  inc(labels: Record<string, string>, value: number): void;
}
