/** What is counted is what is scraped, in both text formats, and no caller can add a series. */
import t from 'tap';
import { metricTable } from '../../gateway/observe/metric-table.ts';
import { createMetrics } from '../../gateway/observe/metrics.ts';

const finished = { listener: 'edge', method: 'PUT', status: 201, durationMs: 12, bytesIn: 500, bytesOut: 98 };

t.test('each event shows in its series', async (t) => {
  const metrics = createMetrics({ version: '1.2.3' });
  const route = metrics.route('tenant-a', 'push');
  route.streamStarted();
  route.finished(finished);
  metrics.listening('inner');
  metrics.connectionOpened('edge');
  metrics.handshake('tenant-a', 'TLSv1.3', true, 'accepted');
  metrics.decision('scope', 'denied', 'insufficient-scope');
  metrics.forwarded('passed', 500);
  metrics.backpressure('node');
  metrics.tokenCache('hit');
  metrics.tokenVerification('main', 'verified');
  metrics.jwksFetch('main', 'failed');
  metrics.certificateExpiries([{ name: 'gone.test', role: 'chain', seconds: 1_800_000_000 }]);
  metrics.addressLists([{ tenant: 'tenant-a', list: 'offices', prefixes: 3, isCurrent: false }]);
  metrics.policyRead(7, true, 1_700_000_000);
  metrics.certificateExpiries([
    { name: 'a.test', role: 'chain', seconds: 1_800_000_000 },
    { name: 'a.test', role: 'crl', seconds: 1_700_000_000 },
  ]);
  const { body, contentType } = await metrics.text();
  t.match(contentType, 'text/plain; version=0.0.4');
  for (const line of [
    'patchgate_requests_total{listener="edge",tenant="tenant-a",route="push",method="PUT",code="201"} 1',
    'patchgate_request_duration_seconds_bucket{le="0.025",route="push"} 1',
    'patchgate_streams_active{route="push"} 1',
    'patchgate_stream_bytes_total{route="push",direction="in"} 500',
    'patchgate_stream_bytes_total{route="push",direction="out"} 98',
    'patchgate_forwarded_bytes_total{path="passed"} 500',
    'patchgate_decisions_total{step="scope",outcome="denied",code="insufficient-scope"} 1',
    'patchgate_tls_handshakes_total{tenant="tenant-a",version="TLSv1.3",resumed="true",outcome="accepted"} 1',
    'patchgate_certificate_not_after_timestamp_seconds{server_name="a.test",role="chain"} 1800000000',
    'patchgate_crl_next_update_timestamp_seconds{server_name="a.test"} 1700000000',
    'patchgate_policy_generation 7',
    'patchgate_policy_last_reload_successful 1',
    'patchgate_policy_last_reload_success_timestamp_seconds 1700000000',
    'patchgate_token_cache_total{result="hit"} 1',
    'patchgate_token_verifications_total{issuer="main",outcome="verified"} 1',
    'patchgate_jwks_fetches_total{issuer="main",outcome="failed"} 1',
    'patchgate_backpressure_pauses_total{side="node"} 1',
    'patchgate_open_connections{listener="edge"} 1',
    'patchgate_open_connections{listener="inner"} 0',
    'patchgate_build_info{version="1.2.3"} 1',
  ]) {
    t.ok(body.includes(`${line}\n`), line);
  }
  t.notOk(body.includes('gone.test'), 'expiries replace those before');
  t.ok(body.includes('patchgate_address_list_current{tenant="tenant-a",list="offices"} 0'));
  metrics.addressLists([]);
  t.notOk((await metrics.text()).body.includes('list="offices"'), 'lists replace those before');
});

t.test('every row of the table is exposed under its name and type', async (t) => {
  const { body } = await createMetrics({ version: 'x' }).text();
  for (const { name, type, help } of Object.values(metricTable)) {
    t.ok(body.includes(`# TYPE ${name} ${type}\n`), name);
    t.ok(body.includes(`# HELP ${name} ${help}\n`), name);
  }
});

t.test('a state that nobody reported has no series, so that no alert fires for it', async (t) => {
  const metrics = createMetrics({ version: 'x' });
  for (const type of ['', 'application/openmetrics-text; version=1.0.0'])
    t.notMatch(
      (await metrics.text(type)).body,
      /\npatchgate_(?:audit_writable|etcd_tenants_current|limit_store_up)/,
    );
  metrics.auditWritable(false);
  metrics.etcdTenants(false);
  const { body } = await metrics.text();
  t.match(body, '\npatchgate_audit_writable 0\n');
  t.match(body, '\npatchgate_etcd_tenants_current 0\n');
});

t.test('OpenMetrics is served on request, again and again, beside the plain format', async (t) => {
  const metrics = createMetrics({ version: 'x' });
  metrics.forwarded('passed', 5);
  for (let scrape = 0; scrape < 2; scrape += 1) {
    const open = await metrics.text('application/openmetrics-text; version=1.0.0,text/plain;q=0.5');
    t.match(open.contentType, 'application/openmetrics-text');
    t.match(open.body, /# TYPE patchgate_forwarded_bytes counter\n/);
    t.match(open.body, /\npatchgate_forwarded_bytes_total\{path="passed"\} 5\n/);
    t.match(open.body, /# EOF\n$/);
    t.match((await metrics.text()).body, /# TYPE patchgate_forwarded_bytes_total counter\n/);
  }
});

t.test('a method nobody knows adds no series', async (t) => {
  const metrics = createMetrics({ version: 'x' });
  const route = metrics.route('tenant-a', 'open');
  for (const method of ['PROPFIND', 'MKCOL', 'BREW']) route.finished({ ...finished, method });
  const { body } = await metrics.text();
  t.same(body.match(/patchgate_requests_total\{.*\} \d+/g), [
    'patchgate_requests_total{listener="edge",tenant="tenant-a",route="open",method="other",code="201"} 3',
  ]);
});

t.test('counts of workers are added to those of the primary', async (t) => {
  const primary = createMetrics({ version: '1.2.3' });
  const worker = createMetrics({});
  primary.auditLines('written', 5);
  worker.auditLines('lost', 2);
  worker.limitDecision('requests', 'refused', 'local');
  primary.merge().take(structuredClone(worker.snapshot()));
  const { body } = await primary.text();
  for (const line of [
    'patchgate_audit_lines_total{outcome="written"} 5',
    'patchgate_audit_lines_total{outcome="lost"} 2',
    'patchgate_limit_decisions_total{limit="requests",outcome="refused",backend="local"} 1',
  ])
    t.ok(body.includes(`${line}\n`), line);
});
