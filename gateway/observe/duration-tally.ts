/** A histogram of durations as plain numbers: observing costs two additions, and a scrape accumulates the buckets. */

import { type Cell, Cells } from './cells.ts';
import type { MetricRow } from './metric-table.ts';

/** Upper bounds in seconds, from a refused head to a stream of an hour. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600];
const SUM = 'sum';

/** The durations of one series. */
export class Durations {
  /** One per bound, and one for longer durations; not cumulative. */
  readonly #buckets: readonly Cell[];
  readonly #sum: Cell;

  constructor(buckets: readonly Cell[], sum: Cell) {
    this.#buckets = buckets;
    this.#sum = sum;
  }

  observe(seconds: number): void {
    let at = 0;
    while (at < BOUNDS.length && seconds > (BOUNDS[at] ?? 0)) at += 1;
    const bucket = this.#buckets[at];
    if (bucket !== undefined) bucket.value += 1;
    this.#sum.value += seconds;
  }

  /** Returns the lines of a scrape, with cumulative buckets as Prometheus requires. */
  lines(name: string, labels: Readonly<Record<string, string>>): readonly Line[] {
    const lines: Line[] = [];
    let count = 0;
    for (const [at, bucket] of this.#buckets.entries()) {
      count += bucket.value;
      lines.push({
        metricName: `${name}_bucket`,
        labels: { le: BOUNDS[at] ?? '+Inf', ...labels },
        value: count,
      });
    }
    lines.push({ metricName: `${name}_sum`, labels, value: this.#sum.value });
    lines.push({ metricName: `${name}_count`, labels, value: count });
    return lines;
  }
}

/** One line of a scrape. */
export interface Line {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** The cells of a histogram. An additional last label is the index of the bucket, or `sum`. */
export class DurationTally extends Cells {
  readonly #row: MetricRow;

  constructor(row: MetricRow) {
    super();
    this.#row = row;
  }

  lines(): readonly Line[] {
    const { name, labels } = this.#row;
    return this.#all().flatMap(([each, of]) => of.lines(name, labelled(labels, each)));
  }

  /** Returns the durations with these label values; creates them with value 0 if necessary. */
  durations(...labels: readonly string[]): Durations {
    const buckets = Array.from({ length: BOUNDS.length + 1 }, (_, at) => this.cell(...labels, String(at)));
    return new Durations(buckets, this.cell(...labels, SUM));
  }

  #all(): readonly (readonly [readonly string[], Durations])[] {
    return this.series.flatMap(({ labels }) => {
      const own = labels.slice(0, -1);
      return labels.at(-1) === SUM ? [[own, this.durations(...own)] as const] : [];
    });
  }
}

/** Returns label values by label name. */
export function labelled(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']));
}
