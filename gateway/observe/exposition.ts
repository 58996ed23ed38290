/** The text of a scrape. The registry that writes it is made for the first one: who only counts has none. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Cells } from './cells.ts';
import { type DurationTally, labelled } from './duration-tally.ts';
import type { MetricRow } from './metric-table.ts';
import type { MetricsText } from './metrics.ts';

/** A metric, and the numbers it is read from. */
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

  /** OpenMetrics where `accept` names it, else the Prometheus text format. */
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
      // The registry shows a metric without labels as 0 where nobody has told of it, and alerts take that for a state.
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
  // The registry asks this way, where a metric of its own would add up what it was told one by one.
  Object.assign(metric, {
    getForPromString: async () => ({ name, help, type: 'histogram', values: durations.lines() }),
  });
}

interface Scrapeable {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/**
 * The same metrics under OpenMetrics. The registry takes `_total` off the names it prints, and does so on the
 * metric itself: it is given objects that only inherit from the metrics, so that the next scrape finds them whole.
 */
function openMetricsView(registry: Registry): Scrapeable {
  const view = new Registry();
  for (const metric of registry.getMetricsAsArray()) view.registerMetric(Object.create(metric));
  // The types give the kind of text to the registry's own; its code takes either.
  const either: { setContentType(type: string): void } = view;
  either.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  return view;
}
