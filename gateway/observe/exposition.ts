/** The text of a scrape. Its registry is created for the first one, so workers, which are not scraped, have none. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Cells } from './cells.ts';
import { type DurationTally, labelled } from './duration-tally.ts';
import type { MetricRow } from './metric-table.ts';
import type { MetricsText } from './metrics.ts';

export interface Exposed {
  readonly row: MetricRow;
  readonly cells: Cells;
}

export class Exposition {
  readonly #registry = new Registry();

  constructor(metrics: Iterable<Exposed>, durationRow: MetricRow, durations: DurationTally) {
    for (const exposed of metrics) expose(exposed, this.#registry);
    exposeDurations(durationRow, durations, this.#registry);
  }

  /** Returns OpenMetrics if `accept` contains it, otherwise the Prometheus text format. */
  async text(accept: string): Promise<MetricsText> {
    const isOpenMetrics = accept.includes('application/openmetrics-text');
    const registry = isOpenMetrics ? openMetricsView(this.#registry) : this.#registry;
    return { contentType: registry.contentType, body: await registry.metrics() };
  }
}

function expose({ row, cells }: Exposed, registry: Registry): void {
  const { name, help, labels } = row;
  const Metric = row.type === 'counter' ? Counter : Gauge;
  new Metric({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect() {
      this.reset();
      // The registry shows a metric without labels as 0 if it was never set, which alerts would take for a state.
      if (labels.length === 0 && cells.series.length === 0) this.remove();
      for (const series of cells.series) this.inc(labelled(labels, series.labels), series.cell.value);
    },
  });
}

function exposeDurations(
  { name, help, labels }: MetricRow,
  durations: DurationTally,
  registry: Registry,
): void {
  const metric = new Histogram({ name, help, labelNames: [...labels], registers: [registry] });
  // The registry calls this to read a metric; a regular histogram would have to observe each duration itself.
  Object.assign(metric, {
    getForPromString: async () => ({ name, help, type: 'histogram', values: durations.lines() }),
  });
}

interface Scrapeable {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/**
 * Returns the same metrics for OpenMetrics. The registry removes `_total` from the names and thereby modifies the
 * metrics, so it gets objects that inherit from them; the metrics themselves stay unchanged for the next scrape.
 */
function openMetricsView(registry: Registry): Scrapeable {
  const view = new Registry();
  for (const metric of registry.getMetricsAsArray()) view.registerMetric(Object.create(metric));
  // The types bind the content type to that of the registry; its code accepts either.
  const either: { setContentType(type: string): void } = view;
  either.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  return view;
}
