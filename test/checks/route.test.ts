/** Step 1: the request stays with the tenant of the handshake, on the one route that every reader of its path finds. */
import t from 'tap';
import { checkRoute, checkTenant } from '../../gateway/checks/route.ts';
import { isDenial } from '../../gateway/core/denial.ts';
import type { RequestHead } from '../../gateway/core/facts.ts';
import { entry, facts, policyOf, route, tenant } from './situation.ts';

const routes = [
  entry('GET', '/v1/admin', route('admin')),
  entry('GET PUT', '/v1/models/{model_id}', route('model')),
  entry('GET', '/v1/hub/{name=*/*}', route('hub', { encodedSlash: true })),
  entry('GET', '/v1/**', route('rest')),
];
const tenantA = tenant(routes);
const policy = policyOf(tenantA);

t.test('the Host field must be the server name of the handshake', async (t) => {
  const meet = (serverName: string, host: string) => checkTenant(policy, facts({ host }, { serverName }));
  t.equal(meet('a.example.com', 'a.example.com'), tenantA);
  t.equal(meet('x.a.example.com', 'x.a.example.com'), tenantA, 'the same name under a wildcard passes');
  for (const [serverName, host] of [
    ['a.example.com', 'b.example.com'],
    ['a.example.com', 'x.a.example.com'],
    ['x.a.example.com', 'y.a.example.com'],
    ['b.example.com', 'a.example.com'],
    ['a.example.com', 'nobody.example.com'],
    ['nobody.example.com', 'nobody.example.com'],
    ['a.example.com', 'x.y.a.example.com'],
    ['a.example.com', ''],
    ['', ''],
  ] as const) {
    t.match(meet(serverName, host), { code: 'misdirected', step: 'route' }, `${serverName} and ${host}`);
  }
});

function routed(head: Partial<RequestHead>): string {
  const found = checkRoute(tenantA, facts(head));
  return isDenial(found) ? found.code : found.route.name;
}

t.test('the route is found by method and path', async (t) => {
  t.equal(routed({ path: '/v1/models/m_1' }), 'model');
  t.match(checkRoute(tenantA, facts({ path: '/v1/models/m_1' })), { params: { model_id: 'm_1' } });
  t.equal(routed({ path: '/v2' }), 'not-found');
  t.match(checkRoute(tenantA, facts({ path: '/v1/models/m_1', method: 'DELETE' })), {
    code: 'method-not-allowed',
    allow: ['GET', 'PUT'],
  });
});

t.test('a path that decodes to another route is refused', async (t) => {
  t.equal(routed({ path: '/v1/%61dmin' }), 'bad-request');
  t.equal(routed({ path: '/v1/models%3Ax' }), 'rest', 'the path is on this route encoded or decoded');
  t.equal(routed({ path: '/v1/a%20b/c' }), 'rest');
  t.equal(routed({ path: '/v1/mod%65ls/m_1', method: 'PUT' }), 'method-not-allowed');
});

t.test('an encoded slash is accepted only where the route says so', async (t) => {
  t.equal(routed({ path: '/v1/hub/org%2Fx/name' }), 'hub');
  t.equal(routed({ path: '/v1/org%2Fname' }), 'bad-request');
});

t.test('a model name of another form than the tenant uses is not found', async (t) => {
  for (const model of ['M_1', 'm', 'm-1', 'm'.repeat(33), '%6d_1', 'm_1%20']) {
    t.equal(routed({ path: `/v1/models/${model}` }), 'not-found', model);
  }
});

t.test('a model name of more than 255 characters is not found, whatever its form', async (t) => {
  const anyName = { ...tenantA, modelId: /^(?:.*)$/u };
  const meet = (length: number) => checkRoute(anyName, facts({ path: `/v1/models/${'m'.repeat(length)}` }));
  t.match(meet(255), { params: { model_id: 'm'.repeat(255) } });
  t.match(meet(256), { code: 'not-found' });
});

t.test('the Connection field may name at most 64 fields', async (t) => {
  const path = '/v1/models/m_1';
  const naming = (count: number): string => Array.from({ length: count }, (_, k) => `x-${k}`).join();
  t.not(routed({ path, fields: ['Connection', naming(64)] }), 'bad-request');
  t.equal(routed({ path, fields: ['Connection', naming(65)] }), 'bad-request');
  t.equal(routed({ path, fields: ['Connection', naming(33), 'Connection', naming(33)] }), 'bad-request');
});

t.test('the Connection field may not name fields the gateway relies on', async (t) => {
  const path = '/v1/models/m_1';
  t.equal(routed({ path, fields: ['Connection', 'close, X-Forwarded-For'] }), 'bad-request');
  t.equal(
    routed({ path, fields: ['connection', 'keep-alive', 'Connection', 'Authorization'] }),
    'bad-request',
  );
  t.match(checkRoute(tenantA, facts({ path, fields: ['Connection', 'X-Hop, close'] })), {
    connectionOptions: ['x-hop', 'close'],
  });
});
