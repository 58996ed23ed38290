/** The admin listener serves operators and scrapers, but no pages of browsers. */
import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import t, { type Test } from 'tap';
import { type Admin, createAdmin } from '../../gateway/observe/admin.ts';

async function admin(t: Test, ready: () => boolean = () => true) {
  const reloads: string[] = [];
  const drains: string[] = [];
  const running = createAdmin({
    address: { host: '127.0.0.1', port: 0 },
    metricsText: async (accept) => ({ contentType: accept ?? 'text/plain', body: 'patchgate_up 1\n' }),
    policyStatus: () => ({ generation: 3 }),
    certificates: () => [{ server_name: 'a.test' }],
    nodes: async () => [{ upstream: 'tenant-a/sync' }],
    setDrained: async (upstream, node, drained) => {
      drains.push(`${upstream} ${node} ${drained}`);
      return node === 'http://n:1';
    },
    ready,
    reload: async () => {
      reloads.push('reload');
      return { successful: true };
    },
  });
  const { port } = await running.listen();
  t.teardown(() => running.close());
  const ask = (
    method: string,
    path: string,
    headers: Record<string, string> = {},
  ): Promise<[number, string]> =>
    new Promise((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port, method, path, headers }, (response) => {
        let text = '';
        response.on('data', (piece: Buffer) => {
          text += piece.toString();
        });
        response.on('end', () => resolve([response.statusCode ?? 0, text]));
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  return { ask, reloads, drains, port };
}

t.test('each page answers with what its source tells', async (t) => {
  const { ask, reloads } = await admin(t);
  t.same(await ask('GET', '/metrics'), [200, 'patchgate_up 1\n']);
  t.same(await ask('GET', '/livez'), [200, '{"status":"live"}\n']);
  t.same(await ask('GET', '/readyz'), [200, '{"status":"ready"}\n']);
  t.same(await ask('GET', '/policy?x'), [200, '{"generation":3}\n']);
  t.same(await ask('GET', '/certificates'), [200, '[{"server_name":"a.test"}]\n']);
  t.same(await ask('GET', '/nodes'), [200, '[{"upstream":"tenant-a/sync"}]\n']);
  t.same(await ask('POST', '/reload'), [200, '{"successful":true}\n']);
  t.same(await ask('HEAD', '/policy'), [200, '']);
  t.equal(reloads.length, 1);
});

t.test('a node is drained and resumed by its upstream and its URL', async (t) => {
  const { ask, drains } = await admin(t);
  const node = 'upstream=tenant-a%2Fsync&node=http%3A%2F%2Fn%3A1';
  const told = (drained: boolean) =>
    `{"upstream":"tenant-a/sync","node":"http://n:1","drained":${drained}}\n`;
  t.same(await ask('POST', `/nodes/drain?${node}`), [200, told(true)]);
  t.same(await ask('POST', `/nodes/resume?${node}`), [200, told(false)]);
  t.equal((await ask('POST', '/nodes/drain?upstream=x&node=y'))[0], 404);
  t.same(drains, ['tenant-a/sync http://n:1 true', 'tenant-a/sync http://n:1 false', 'x y true']);
  t.equal((await ask('POST', '/nodes/drain'))[0], 400);
  t.equal((await ask('POST', '/nodes/drain?upstream=tenant-a'))[0], 400);
  t.equal((await ask('GET', `/nodes/drain?${node}`))[0], 405, 'a link drains nothing');
  t.equal((await ask('POST', `/nodes/drain?${node}`, { Origin: 'https://evil.example' }))[0], 403);
  t.equal(drains.length, 3);
});

t.test('a gateway that drains is live but not ready', async (t) => {
  const { ask } = await admin(t, () => false);
  t.same(await ask('GET', '/readyz'), [503, '{"status":"not ready"}\n']);
  t.same(await ask('GET', '/livez'), [200, '{"status":"live"}\n']);
});

t.test('a wrong method, a foreign origin and a foreign host are refused', async (t) => {
  const { ask, reloads } = await admin(t);
  t.equal((await ask('GET', '/'))[0], 404);
  t.equal((await ask('GET', '/reload'))[0], 405, 'a link reloads nothing');
  t.equal((await ask('POST', '/metrics'))[0], 405);
  t.equal(
    (await ask('POST', '/reload', { Origin: 'https://evil.example' }))[0],
    403,
    'a page of another origin reloads nothing',
  );
  t.equal(
    (await ask('GET', '/policy', { Host: 'evil.example' }))[0],
    403,
    'a name that points here is refused',
  );
  t.equal((await ask('GET', '/policy', { Host: '127.0.0.1.evil.example' }))[0], 403);
  t.equal((await ask('GET', '/policy', { Host: 'localhost:1' }))[0], 200);
  t.equal((await ask('GET', '/policy', { Host: '[::1]:1' }))[0], 200);
  t.equal(reloads.length, 0);
});

t.test('an address in use prevents the start', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  await t.rejects(pages(port).listen(), { code: 'EADDRINUSE' });
});

t.test('of two listeners on one address the one that yields leaves it to the other', async (t) => {
  const first = pages(0);
  const { port } = await first.listen();
  const other = pages(port);
  t.teardown(() => Promise.all([first.close(), other.close()]));
  await first.yield();
  t.equal((await fetch(`http://127.0.0.1:${port}/livez`)).status, 200, 'a listener that is alone stays');
  await other.listen();
  await first.yield();
  await other.close();
  await t.rejects(fetch(`http://127.0.0.1:${port}/livez`), 'nobody listens any more');
});

/** An admin listener with nothing to report. */
function pages(port: number): Admin {
  return createAdmin({
    address: { host: '127.0.0.1', port },
    metricsText: async () => ({ contentType: '', body: '' }),
    policyStatus: () => ({}),
    certificates: () => [],
    nodes: async () => [],
    setDrained: async () => false,
    ready: () => true,
    reload: async () => ({}),
  });
}
