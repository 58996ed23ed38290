/** Merges the series of several processes: each sends its values, and one process adds them to its own. */

import type { Cells } from './cells.ts';

/** The values of one process, small enough to be sent often. */
export interface SeriesSnapshot {
  /** Series new in this snapshot: the key of the metric, then the label values. */
  readonly added: readonly (readonly string[])[];
  /** The values of all series so far, in the order they were added. */
  readonly values: Float64Array;
}

/** Metrics by their key in `metricTable`. */
export type CellsByKey = ReadonlyMap<string, Cells>;

/** The sending side. Its metrics must never remove a series. */
export class SeriesSender {
  readonly #cells: CellsByKey;
  readonly #sent: { readonly cells: Cells; readonly at: number }[] = [];
  /** Number of series sent so far, by the key of their metric. */
  readonly #known = new Map<string, number>();

  constructor(cells: CellsByKey) {
    this.#cells = cells;
  }

  snapshot(): SeriesSnapshot {
    const added: string[][] = [];
    for (const [key, cells] of this.#cells) {
      for (let at = this.#known.get(key) ?? 0; at < cells.series.length; at += 1) {
        added.push([key, ...(cells.series[at]?.labels ?? [])]);
        this.#sent.push({ cells, at });
      }
      this.#known.set(key, cells.series.length);
    }
    const values = Float64Array.from(this.#sent, ({ cells, at }) => cells.series[at]?.cell.value ?? 0);
    return { added, values };
  }
}

interface Merged {
  readonly cell: { value: number };
  readonly isGauge: boolean;
  /** The share of this process in the value of the cell. */
  share: number;
}

/** The receiving side, for one process. Its counts remain when it ends, so that no counter ever falls. */
export class MergedSeries {
  readonly #cells: CellsByKey;
  readonly #isGauge: (key: string) => boolean;
  readonly #series: Merged[] = [];

  constructor(cells: CellsByKey, isGauge: (key: string) => boolean) {
    this.#cells = cells;
    this.#isGauge = isGauge;
  }

  take({ added, values }: SeriesSnapshot): void {
    for (const [key = '', ...labels] of added) {
      const cell = this.#cells.get(key)?.cell(...labels) ?? { value: 0 };
      this.#series.push({ cell, isGauge: this.#isGauge(key), share: 0 });
    }
    for (const [at, merged] of this.#series.entries()) {
      const value = values[at] ?? merged.share;
      merged.cell.value += value - merged.share;
      merged.share = value;
    }
  }

  /** Removes the share of a process that has ended from all gauges. */
  end(): void {
    for (const merged of this.#series) {
      if (!merged.isGauge) continue;
      merged.cell.value -= merged.share;
      merged.share = 0;
    }
  }
}
