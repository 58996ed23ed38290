/** Alerts and dashboard use only metrics that the gateway exposes, and the dashboard uses all of them. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { metricTable } from '../../gateway/observe/metric-table.ts';
import { skipWithout } from '../lists/servers.ts';
import { readText, repositoryPath } from './deployed.ts';
import { filledIn, groupedBy, labelsTold, queries, rules, seriesOf, unknownIn } from './expressions.ts';

const skip = skipWithout('promtool', 'prometheus');

function promtool(...args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
  return { status, output: `${stdout}${stderr}` };
}

t.test('expressions with unknown metrics or labels are detected', async (t) => {
  t.same(unknownIn('sum by (route) (rate(patchgate_requests_total{code="200"}[5m]))', ['route']), []);
  t.same(unknownIn('patchgate_nonsense', []), ['patchgate_nonsense']);
  t.same(unknownIn('patchgate_node_up{tenant="a"} == 0', []), ['patchgate_node_up{tenant}']);
  t.same(unknownIn('sum by (route) (patchgate_node_up)', []), ['route']);
  t.same(unknownIn('patchgate_node_up == 0', ['node', 'colour']), ['colour']);
  t.same(unknownIn('patchgate_request_duration_seconds', []), ['patchgate_request_duration_seconds']);
});

t.test('rules use only metrics and labels of the code, also in their annotations', async (t) => {
  for (const { alert, expr, annotations } of rules) {
    const told = labelsTold(`${annotations.summary} ${annotations.description}`);
    t.same(unknownIn(expr, told), [], alert);
    const kept = groupedBy(expr);
    if (kept.length > 0)
      t.same(
        told.filter((label) => !kept.includes(label)),
        [],
        alert,
      );
  }
});

t.test('the dashboard uses only metrics and labels of the code', async (t) => {
  for (const { panel, expr, legend } of queries) t.same(unknownIn(expr, labelsTold(legend)), [], panel);
});

t.test('the dashboard shows every metric', async (t) => {
  const shown = new Set(queries.flatMap(({ expr }) => seriesOf(expr)));
  const hidden = Object.values(metricTable)
    .map(({ name, type }) => (type === 'histogram' ? `${name}_bucket` : name))
    .filter((name) => !shown.has(name));
  t.same(hidden, []);
});

t.test('every rule has a severity, a description and a test in which it fires', async (t) => {
  const tests = readText('deploy/alerts.test.yml');
  for (const { alert, labels, annotations } of rules) {
    t.match(labels, { severity: /^(?:critical|warning)$/ }, alert);
    t.ok(annotations.summary && annotations.description, alert);
    t.match(tests, `{ labels: '{alertname="${alert}"`, alert);
  }
});

t.test('promtool finds no fault in the rules, and their tests pass', { skip }, async (t) => {
  const check = promtool('check', 'rules', repositoryPath('deploy/alerts.yml'));
  t.equal(check.status, 0, check.output);
  t.match(check.output, `SUCCESS: ${rules.length} rules found`);
  const test = promtool('test', 'rules', repositoryPath('deploy/alerts.test.yml'));
  t.equal(test.status, 0, test.output);
});

t.test(
  'promtool accepts the configuration of Prometheus and every query of the dashboard',
  { skip },
  async (t) => {
    const config = promtool('check', 'config', repositoryPath('deploy/prometheus.yml'));
    t.equal(config.status, 0, config.output);
    const recorded = queries.map(({ expr }, index) => ({
      record: `query:${index}`,
      expr: filledIn(expr, '1m'),
    }));
    const folder = t.testdir({
      'queries.yml': stringify({ groups: [{ name: 'queries', rules: recorded }] }),
    });
    const check = promtool('check', 'rules', join(folder, 'queries.yml'));
    t.equal(check.status, 0, check.output);
    t.match(check.output, `SUCCESS: ${queries.length} rules found`);
  },
);
