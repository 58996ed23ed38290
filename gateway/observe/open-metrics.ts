/** Metrics of a registry in the text of OpenMetrics, for scrapers that ask for it. */

import { Registry } from 'prom-client';

interface Scrapeable {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/**
 * The same metrics under OpenMetrics. The registry takes `_total` off the names it prints, and does so on the
 * metric itself: it is given objects that only inherit from the metrics, so that the next scrape finds them whole.
 */
export function openMetricsView(registry: Registry): Scrapeable {
  const view = new Registry();
  for (const metric of registry.getMetricsAsArray()) view.registerMetric(Object.create(metric));
  // The types give the kind of text to the registry's own; its code takes either.
  const either: { setContentType(type: string): void } = view;
  either.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  return view;
}
