/** Data planes get certificates on request and changes by themselves, and share their sessions. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { nodeIdentitySource } from '../../gateway/certificates/node-identity.ts';
import { type ServerIdentity, serverIdentitySource } from '../../gateway/certificates/server-identity.ts';
import { createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { ServerNames } from '../../gateway/edge/server-names.ts';
import { NodeTlsContexts } from '../../gateway/relay/node-tls.ts';
import {
  createAuthorities,
  GATEWAY_YAML,
  type PolicyFolder,
  SERVER_NAME,
  TENANT_YAML,
  writePolicyFolder,
} from '../policy/policy-folder.ts';
import { type DataPlane, setControl, until } from './control-stage.ts';

const authorities = await createAuthorities();

const sourceOf = ({ end }: DataPlane, serverName = SERVER_NAME, needsClients = true) =>
  serverIdentitySource(end.policy().gateway.certificates, serverName, needsClients);
const identityOf = async (plane: DataPlane, serverName?: string): Promise<ServerIdentity | undefined> =>
  plane.end.servers.get(sourceOf(plane, serverName));

t.test(
  'an identity is that of the control plane, read once for all, and later the same object',
  async (t) => {
    const folder = await writePolicyFolder(t, authorities);
    const stage = await setControl(t, folder.path);
    const planes = [await stage.attach(), await stage.attach()];
    t.same(stage.keeper.servers.loaded, [], 'nothing is read before it is asked for');
    for (const plane of planes) {
      const [one, other] = await Promise.all([identityOf(plane), identityOf(plane)]);
      t.equal(one, other);
      t.equal(plane.end.servers.get(sourceOf(plane)), one);
      const here = stage.keeper.servers.peek(sourceOf(plane).key);
      t.equal(one?.digest, here?.digest);
      t.equal(one?.notAfterMs, here?.notAfterMs);
      t.equal(one?.keys[0]?.leaf.fingerprint256, here?.keys[0]?.leaf.fingerprint256);
      t.equal(one?.keys[0]?.keyPem, here?.keys[0]?.keyPem);
      t.same(one?.clients?.pems, here?.clients?.pems);
      t.equal(plane.end.servers.version, 1);
      t.equal(plane.identities(), 1, 'it was sent once');
    }
  },
);

t.test('an unknown name and a folder that cannot be used are answered with nothing', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  await folder.addTenant('tenant-b', 'b.example.com');
  await folder.write('../certs/b.example.com/key.pem', 'rubbish');
  const stage = await setControl(t, folder.path);
  const plane = await stage.attach();
  t.equal(await identityOf(plane, 'nobody.example.com'), undefined);
  t.equal(await identityOf(plane, '../../etc'), undefined);
  t.equal(
    await plane.end.servers.get(sourceOf(plane, SERVER_NAME, false)),
    undefined,
    'settings other than those of the policy are refused',
  );
  t.equal(await identityOf(plane, 'b.example.com'), undefined);
  t.same(stage.keeper.servers.loaded, []);
  await folder.addCertificates('b.example.com');
  await stage.keeper.refresh();
  t.ok(await until(() => 'digest' in (plane.end.servers.get(sourceOf(plane, 'b.example.com')) ?? {})));
});

t.test('changed certificates are sent to the data planes that have them', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  const stage = await setControl(t, folder.path);
  const [first, second] = [await stage.attach(), await stage.attach()];
  const before = await identityOf(first);
  const changes = first.changes();
  const sent = second.sent();
  await folder.addCertificates(SERVER_NAME);
  await stage.keeper.refresh();
  t.ok(await until(() => first.end.servers.get(sourceOf(first)) !== before));
  t.equal(first.end.servers.version, 2);
  t.ok(first.changes() > changes, 'running streams are decided again');
  t.equal(second.sent(), sent, 'the other data plane has not asked and gets nothing');
});

t.test('a revocation applies in every data plane, by the same list', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  const bad = await folder.clients.issueClient({ commonName: 'bad' });
  const good = await folder.clients.issueClient({ commonName: 'good' });
  await folder.write(`../certs/${SERVER_NAME}/clients.crl`, await folder.clients.revocationList([good]));
  const stage = await setControl(t, folder.path);
  const planes = [await stage.attach(), await stage.attach()];
  const objections = async (plane: DataPlane) => {
    const rules = { crl: 'leaf', expiredCrl: 'refuse' } as const;
    const clients = (await identityOf(plane))?.clients;
    return [bad, good].map((pair) => clients?.objection(x509(pair), rules, Date.now()));
  };
  for (const plane of planes) t.same(await objections(plane), [undefined, 'it was revoked']);
  await folder.write(`../certs/${SERVER_NAME}/clients.crl`, await folder.clients.revocationList([bad]));
  await stage.keeper.refresh();
  for (const plane of planes) {
    t.ok(await until(() => plane.end.servers.version === 2));
    t.same(await objections(plane), ['it was revoked', undefined]);
    const clients = (await identityOf(plane))?.clients;
    t.equal(clients?.nextUpdateMs, stage.keeper.servers.peek(sourceOf(plane).key)?.clients?.nextUpdateMs);
    t.equal(clients?.revoked, 1);
  }
});

t.test('the control plane keeps only identities that some data plane has', async (t) => {
  const names = Array.from({ length: 12 }, (_, n) => `n${n}.example.com`);
  const folder = await writePolicyFolder(t, authorities, {
    'gateway.yaml': `${GATEWAY_YAML}  limits: { serverNames: 3 }\n`,
    'tenants/tenant-a.yaml': TENANT_YAML.replace(SERVER_NAME, names.join(', ')),
  });
  for (const name of names) await folder.addCertificates(name);
  const stage = await setControl(t, folder.path);
  const [first, second] = [await stage.attach(), await stage.attach()];
  for (const name of names) t.ok(await identityOf(first, name));
  for (const name of names.slice(0, 4)) t.ok(await identityOf(second, name));
  const kept = () => stage.keeper.servers.loaded.map(({ serverName }) => serverName).sort();
  t.ok(await until(() => kept().length === 6), kept().join());
  t.same(kept(), [...names.slice(1, 4), ...names.slice(9)].sort());
  first.close();
  t.same(kept(), names.slice(1, 4).sort());
  second.close();
  t.same(kept(), []);
});

t.test('the last good identity outlives the data planes that had it, while it is named', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  const stage = await setControl(t, folder.path);
  const { servers } = stage.keeper;
  const [first, second] = [await stage.attach(), await stage.attach()];
  const good = await identityOf(first);
  await identityOf(second);
  const { key } = sourceOf(first);
  await folder.write(`../certs/${SERVER_NAME}/chain.pem`, 'rubbish');
  await stage.keeper.refresh();
  t.ok(await until(() => servers.lastGood(key) !== undefined));
  for (const plane of [first, second]) plane.close();
  const third = await stage.attach();
  t.equal((await identityOf(third))?.digest, good?.digest);
  await folder.addCertificates(SERVER_NAME);
  await stage.keeper.refresh();
  t.ok(await until(() => third.end.servers.version === 2), 'a repaired identity replaces it');
  third.close();
  t.same(servers.loaded, []);
});

t.test('an unused last good identity goes when its files are mended or its name is gone', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  await folder.addTenant('tenant-b', 'b.example.com');
  const stage = await setControl(t, folder.path);
  const { servers } = stage.keeper;
  const plane = await stage.attach();
  for (const name of [SERVER_NAME, 'b.example.com']) {
    await identityOf(plane, name);
    await folder.write(`../certs/${name}/chain.pem`, 'rubbish');
  }
  const keys = [sourceOf(plane).key, sourceOf(plane, 'b.example.com').key];
  await stage.keeper.refresh();
  t.ok(await until(() => keys.every((key) => servers.lastGood(key) !== undefined)));
  plane.close();
  t.equal(servers.loaded.length, 2);
  await folder.addCertificates(SERVER_NAME);
  await stage.keeper.refresh();
  t.ok(await until(() => servers.loaded.length === 1));
  await folder.remove('tenants/tenant-b.yaml');
  await stage.reload();
  t.same(servers.loaded, []);
  t.same(servers.faults, []);
});

t.test('a data plane without its control plane keeps what it has and waits for nothing', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  const stage = await setControl(t, folder.path);
  const plane = await stage.attach();
  plane.hold();
  const waiting = identityOf(plane);
  plane.close();
  t.equal(await waiting, undefined);
  t.equal(await identityOf(plane, 'b.example.com'), undefined);
  t.equal(plane.end.policy().generation, 1);
});

t.test('a data plane gets the certificates an upstream shows to its nodes, and their changes', async (t) => {
  const nodes = await createAuthority('nodes');
  const shown = await nodes.issueClient({ commonName: 'gateway' });
  const tls = 'tls: { ca: node-ca.pem, cert: shown.pem, key: shown.key }';
  const folder = await writePolicyFolder(t, authorities, {
    'tenants/tenant-a.yaml': TENANT_YAML.replace(
      "nodes: ['http://10.1.0.1:7001']",
      `nodes: ['https://10.1.0.1:7001']\n    ${tls}`,
    ),
    'tenants/node-ca.pem': nodes.certificatePem,
    'tenants/shown.pem': shown.certificatePem,
    'tenants/shown.key': shown.privateKeyPem,
  });
  const stage = await setControl(t, folder.path);
  await stage.keeper.follow();
  const plane = await stage.attach();
  const upstream = plane.end.policy().tenants.get('tenant-a')?.upstreams.get('sync');
  if (upstream === undefined) throw new Error('no upstream');
  const contexts = new NodeTlsContexts(plane.end.nodes);
  t.ok(await contexts.find(upstream));
  const identity = () => plane.end.nodes.get(nodeIdentitySource(upstream));
  t.match(identity(), { upstream: 'tenant-a/sync', key: { keyPem: shown.privateKeyPem } });
  t.equal(identity()?.constructor, Object);
  const renewed = await nodes.issueClient({ commonName: 'gateway' });
  await folder.write('tenants/shown.key', renewed.privateKeyPem);
  await folder.write('tenants/shown.pem', renewed.certificatePem);
  await stage.keeper.refresh();
  t.ok(await until(() => (identity() as { key?: { keyPem: string } }).key?.keyPem === renewed.privateKeyPem));
  plane.close();
  t.equal(stage.keeper.nodes.loaded.length, 1, 'the control plane goes on following them');
});

function x509({ certificatePem }: IssuedPair): X509Certificate {
  return new X509Certificate(certificatePem);
}

/** A data plane that completes every handshake. */
async function listen(t: Test, plane: DataPlane): Promise<number> {
  const names = new ServerNames(plane.end.servers, plane.end.ticketSecret);
  const server = createServer(async (socket) => {
    socket.on('error', () => undefined);
    const [listener] = plane.end.policy().gateway.listeners;
    const named = listener && (await names.find(plane.end.policy(), listener, SERVER_NAME));
    if (named === undefined) return socket.destroy();
    return named.tls.begin(socket, {
      onSecure: (secure) => secure.end('x'),
      onHandshakeFailed: () => undefined,
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function visit(folder: PolicyFolder, worker: IssuedPair, port: number, session?: Buffer) {
  const socket = connect({
    port,
    host: '127.0.0.1',
    servername: SERVER_NAME,
    ca: folder.servers.certificatePem,
    cert: worker.certificatePem,
    key: worker.privateKeyPem,
    ...(session !== undefined && { session }),
  });
  let made: Buffer | undefined;
  socket.on('session', (given: Buffer) => {
    made = given;
  });
  socket.resume();
  await once(socket, 'secureConnect');
  const resumed = socket.isSessionReused();
  await once(socket, 'close');
  return { made, resumed };
}

t.test('a session begun at one data plane is resumed at another until its certificates change', async (t) => {
  const folder = await writePolicyFolder(t, authorities);
  const worker = await folder.clients.issueClient({ commonName: 'worker' });
  const stage = await setControl(t, folder.path);
  const planes = [await stage.attach(), await stage.attach()];
  const [first = 0, second = 0] = await Promise.all(planes.map((plane) => listen(t, plane)));
  const begun = await visit(folder, worker, first);
  t.equal(begun.resumed, false);
  t.equal((await visit(folder, worker, second, begun.made)).resumed, true);
  t.equal((await visit(folder, worker, first, begun.made)).resumed, true);
  const third = await stage.attach();
  t.equal(
    (await visit(folder, worker, await listen(t, third), begun.made)).resumed,
    true,
    'a data plane started since then resumes it too',
  );
  await folder.write(`../certs/${SERVER_NAME}/clients.crl`, await folder.clients.revocationList([]));
  await stage.keeper.refresh();
  for (const plane of planes) t.ok(await until(() => plane.end.servers.version === 2));
  t.equal((await visit(folder, worker, second, begun.made)).resumed, false);
});
