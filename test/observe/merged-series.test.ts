/** The numbers of several processes add up, and what one has counted outlives it. */
import t from 'tap';
import { createMetrics, type Metrics } from '../../gateway/observe/metrics.ts';

const finished = { listener: 'edge', method: 'GET', status: 200, durationMs: 20, bytesIn: 1, bytesOut: 2 };
const REQUESTS = 'patchgate_requests_total{listener="edge",tenant="a",route="r",method="GET",code="200"}';

async function seriesOf(metrics: Metrics, series: string): Promise<number> {
  const line = (await metrics.text()).body.split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1) ?? Number.NaN);
}

t.test('counters, gauges and histograms of two processes are added up, however often reported', async (t) => {
  const whole = createMetrics({ version: 'x' });
  const sources = [createMetrics({}), createMetrics({})];
  const merges = sources.map((source) => ({ source, merged: whole.merge() }));
  for (let turn = 1; turn <= 3; turn += 1) {
    for (const { source, merged } of merges) {
      source.connectionOpened('edge');
      source.route('a', 'r').finished(finished);
      merged.take(structuredClone(source.snapshot()));
      merged.take(structuredClone(source.snapshot()));
    }
    t.equal(await seriesOf(whole, REQUESTS), 2 * turn);
    t.equal(await seriesOf(whole, 'patchgate_open_connections{listener="edge"}'), 2 * turn);
    t.equal(
      await seriesOf(whole, 'patchgate_request_duration_seconds_bucket{le="0.025",route="r"}'),
      2 * turn,
    );
    t.equal(await seriesOf(whole, 'patchgate_request_duration_seconds_bucket{le="0.01",route="r"}'), 0);
    t.equal(await seriesOf(whole, 'patchgate_request_duration_seconds_count{route="r"}'), 2 * turn);
  }
  t.equal(await seriesOf(whole, 'patchgate_build_info{version="x"}'), 1);
});

t.test('a process that is gone leaves its counts, but nothing that it held', async (t) => {
  const whole = createMetrics({ version: 'x' });
  for (let life = 1; life <= 2; life += 1) {
    const source = createMetrics({});
    const merged = whole.merge();
    source.connectionOpened('edge');
    source.route('a', 'r').finished(finished);
    source.route('a', 'r').streamStarted();
    merged.take(source.snapshot());
    t.equal(await seriesOf(whole, 'patchgate_streams_active{route="r"}'), 1);
    merged.end();
    t.equal(await seriesOf(whole, REQUESTS), life);
    t.equal(await seriesOf(whole, 'patchgate_request_duration_seconds_count{route="r"}'), life);
    t.equal(await seriesOf(whole, 'patchgate_open_connections{listener="edge"}'), 0);
    t.equal(await seriesOf(whole, 'patchgate_streams_active{route="r"}'), 0);
  }
});

t.test('each series is named once and is a number from then on', async (t) => {
  const source = createMetrics({});
  source.snapshot();
  source.route('a', 'r').finished(finished);
  t.ok(source.snapshot().added.some(([metric, ...labels]) => metric === 'requests' && labels.includes('r')));
  source.route('a', 'r').finished(finished);
  const { added, values } = source.snapshot();
  t.same(added, []);
  t.ok(values.includes(2));
});
