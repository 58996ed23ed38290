/** The expressions of rules and dashboard, and the metrics and labels they ask for. */

import { metricTable } from '../../gateway/observe/metric-table.ts';
import { readText, readYaml } from './deployed.ts';

export interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}

export interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

export const ruleFile = readYaml<RuleFile>('deploy/alerts.yml');
export const rules: readonly Rule[] = ruleFile.groups.flatMap((group) => group.rules);

/** A query of the dashboard, and the template that names its series. */
export interface Query {
  readonly panel: string;
  readonly expr: string;
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

export const queries: readonly Query[] = (
  JSON.parse(readText('deploy/grafana/dashboards/patchgate.json')) as { readonly panels: readonly Panel[] }
).panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr, legendFormat }) => ({ panel: title, expr, legend: legendFormat })),
);

/** An expression with the dashboard's variables filled in. */
export const filledIn = (expr: string, rateInterval: string): string =>
  expr.replaceAll('$__rate_interval', rateInterval).replaceAll('$instance', '.*').replaceAll('$tenant', '.*');

/** The series of Prometheus itself, beside those of the gateway. */
const OWN: ReadonlyMap<string, readonly string[]> = new Map([
  ['up', []],
  ['ALERTS', ['alertstate', 'alertname']],
]);
/** Every scraped series has these. */
const SCRAPED = ['job', 'instance'];

const SERIES: ReadonlyMap<string, readonly string[]> = new Map([
  ...OWN,
  ...Object.values(metricTable).flatMap(({ name, type, labels }): [string, readonly string[]][] =>
    type === 'histogram'
      ? [
          [`${name}_bucket`, [...labels, 'le']],
          [`${name}_sum`, labels],
          [`${name}_count`, labels],
        ]
      : [[name, labels]],
  ),
]);

const SELECTOR = /\b(up|ALERTS|patchgate_\w+)\b(?:\{([^}]*)\})?/g;

/** The series an expression asks for, by name. */
export const seriesOf = (expr: string): readonly string[] =>
  [...expr.matchAll(SELECTOR)].map(([, name = '']) => name);

/** The labels an expression groups by. */
export const groupedBy = (expr: string): readonly string[] =>
  [...expr.matchAll(/\b(?:by|without|on)\s*\(([^)]*)\)/g)].flatMap(([, list = '']) => split(list));

/** Everything in an expression, and in the label names `told` with it, that nobody exposes. */
export function unknownIn(expr: string, told: readonly string[]): readonly string[] {
  const unknown: string[] = [];
  const all = new Set(SCRAPED);
  for (const [, name = '', matchers = ''] of expr.matchAll(SELECTOR)) {
    const labels = SERIES.get(name);
    if (labels === undefined) unknown.push(name);
    const has = [...(labels ?? []), ...SCRAPED];
    for (const label of has) all.add(label);
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g))
      if (!has.includes(label)) unknown.push(`${name}{${label}}`);
  }
  for (const label of [...groupedBy(expr), ...told]) if (!all.has(label)) unknown.push(label);
  return unknown;
}

/** The labels named in a template: `{{ $labels.node }}` of an annotation, `{{node}}` of a legend. */
export const labelsTold = (template: string): readonly string[] =>
  [...template.matchAll(/\{\{\s*(?:\$labels\.)?([a-z]\w*)\s*\}\}/g)].map(([, label = '']) => label);

const split = (list: string): readonly string[] =>
  list
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');
