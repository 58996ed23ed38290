/** What an upstream may say, how it is compiled, and the place of every fault in it. */
import t from 'tap';
import { type Row, TENANT, testRows } from './fault-rows.ts';
import { createAuthorities, writePolicyFolder } from './policy-folder.ts';

const authorities = await createAuthorities();
const NODES = "nodes: ['http://10.1.0.1:7001']";
const STATUSES = 'is invalid (expected a status like 204, or statuses like 200-299)';
const under = (keys: string): string => `${NODES}\n    ${keys}`;
const duration = (least: number, most = 86_400_000): string =>
  `a duration like 800ms, 30s, 5m, 1h between ${least} and ${most} ms`;

const ROWS: readonly Row[] = [
  [
    'a node that stands twice, however it is written',
    NODES,
    "nodes: ['http://a:80', { url: 'http://A/' }, { url: 'https://a:80', weight: 2 }]",
    '15:35 upstreams.sync.nodes[1].url: duplicate node http://A/',
  ],
  [
    'weights',
    NODES,
    "nodes: [{ url: 'http://a:1', weight: 0 }, { url: 'http://b:1', weight: 1001 }]",
    '15:42 upstreams.sync.nodes[0].weight: is too small (expected at least 1)',
    '15:76 upstreams.sync.nodes[1].weight: is too large (expected at most 1000)',
  ],
  [
    'a node with unknown keys',
    NODES,
    "nodes: [{ url: 'http://a:1', wieght: 2 }]",
    '15:34 upstreams.sync.nodes[0].wieght: unknown key wieght',
  ],
  [
    'a hash on what some route lacks',
    NODES,
    under("balance: hash\n    hashOn: '{model_id}/{stream_id}'"),
    '17:13 upstreams.sync.hashOn: the path of route weights has no {stream_id}',
  ],
  [
    'a template that is none',
    NODES,
    under('hashOn: model_id'),
    '16:13 upstreams.sync.hashOn: model_id is not a template (expected path parameters as in {model_id})',
  ],
  [
    'a path that is none, and statuses',
    NODES,
    under("health: { path: healthz, expect: [99, 299-200, '2xx'] }"),
    '16:21 upstreams.sync.health.path: is not a path',
    `16:39 upstreams.sync.health.expect[0]: "99" ${STATUSES}`,
    `16:43 upstreams.sync.health.expect[1]: "299-200" ${STATUSES}`,
    `16:52 upstreams.sync.health.expect[2]: "2xx" ${STATUSES}`,
  ],
  [
    'times and thresholds of checks',
    NODES,
    under('health: { path: /healthz, interval: 99ms, timeout: 2m, unhealthyAfter: 0 }'),
    `16:41 upstreams.sync.health.interval: "99ms" is invalid (expected ${duration(100)})`,
    `16:56 upstreams.sync.health.timeout: "2m" is invalid (expected ${duration(10, 60_000)})`,
    '16:76 upstreams.sync.health.unhealthyAfter: is too small (expected at least 1)',
  ],
  [
    'checks that do not say what they ask for',
    NODES,
    under('health: { interval: 5s }'),
    '16:13 upstreams.sync.health.path: is missing (expected text)',
  ],
  [
    'shares that are none',
    NODES,
    under('breaker: { errorThreshold: 0% }\n    ejection: { maxShare: 101% }'),
    '16:32 upstreams.sync.breaker.errorThreshold: "0%" is invalid (expected a share like 50%, from 1% to 100%)',
    '17:27 upstreams.sync.ejection.maxShare: "101%" is invalid (expected a share like 50%, from 1% to 100%)',
  ],
  [
    'an unknown key of the breaker',
    NODES,
    under('breaker: { halfOpen: 2 }'),
    '16:16 upstreams.sync.breaker.halfOpen: unknown key halfOpen',
  ],
  [
    'a fallback that is not there, and one that is the upstream itself',
    '{ format: weight-patch, maxBytes: 2GiB }\n    upstream: sync\n',
    '{ format: weight-patch, maxBytes: 2GiB }\n    upstream: sync\n    fallback: snyc\n',
    '22:15 routes[0].fallback: unknown upstream snyc (expected sync)',
  ],
  [
    'a fallback to the upstream itself',
    '{ scope: read }\n    upstream: sync\n',
    '{ scope: read }\n    upstream: sync\n    fallback: sync\n',
    '26:15 routes[1].fallback: is the upstream of the route itself (expected another upstream, or an answer)',
  ],
  [
    'a fallback answer without a body to have, and with a type that is none',
    '{ scope: read }\n    upstream: sync\n',
    '{ scope: read }\n    upstream: sync\n    fallback: { status: 204, contentType: "a\\r\\nb: c" }\n',
    '26:25 routes[1].fallback.status: is a status without a body',
    '26:43 routes[1].fallback.contentType: has the wrong format (expected a media type)',
  ],
];

testRows(t, authorities, TENANT, ROWS);

t.test('a fallback by hash requires the same of the route', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  const other = "other: { nodes: ['http://10.1.0.2:7001'], balance: hash, hashOn: '{stream_id}' }";
  await folder.edit(TENANT, NODES, `${NODES}\n  ${other}`);
  await folder.edit(TENANT, '{ scope: read }\n', '{ scope: read }\n    fallback: other\n');
  t.same((await folder.load()).faults, [
    `${TENANT}:16:68 upstreams.other.hashOn: the path of route weights has no {stream_id}`,
  ]);
});

t.test('omitted settings have their defaults, and given ones are compiled', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  const sync = async () => (await folder.load()).policy?.tenants.get('tenant-a')?.upstreams.get('sync');
  t.match(await sync(), {
    nodes: [{ url: 'http://10.1.0.1:7001', weight: 1 }],
    balance: 'leastRequests',
    hashOn: { text: '{model_id}' },
    slowStartMs: 0,
    resolveMs: 30_000,
    health: undefined,
    ejection: undefined,
    breaker: {
      timeoutMs: 800,
      errorThreshold: 50,
      minimumRequests: 10,
      sleepWindowMs: 30_000,
      maxConcurrent: 20,
    },
  });
  await folder.edit(
    TENANT,
    NODES,
    `nodes: [{ url: 'http://10.1.0.1:7001/', weight: 3 }]
    balance: hash
    slowStart: 30s
    resolve: 5s
    health: { path: /healthz, expect: [204, 300-399] }
    ejection: {}
    breaker: { timeout: 1s, errorThreshold: 25% }`,
  );
  t.match(await sync(), {
    nodes: [{ url: 'http://10.1.0.1:7001/', host: '10.1.0.1', port: 7001, weight: 3 }],
    balance: 'hash',
    slowStartMs: 30_000,
    resolveMs: 5000,
    health: {
      path: '/healthz',
      expect: [
        { first: 204, last: 204 },
        { first: 300, last: 399 },
      ],
      intervalMs: 5000,
      timeoutMs: 1000,
      unhealthyAfter: 3,
      healthyAfter: 2,
    },
    ejection: { consecutiveFailures: 5, forMs: 30_000, maxForMs: 300_000, maxShare: 50 },
    breaker: { timeoutMs: 1000, errorThreshold: 25 },
  });
});
