/**
 * A session belongs to the server name it was made under: offered under another it is not resumed, and the caller meets
 * that name's own demands. The clients are other people's: openssl s_client, which keeps and offers any session.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { HOST, rawNode, type Stage, setStage, tenantYaml, writeCertificates } from '../path/stage.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const OTHER = 'b.test';

interface Setting {
  readonly stage: Stage;
  readonly workerB: IssuedPair;
  readonly folder: string;
}

/** Tenant a at `a.test` and tenant b at `b.test`, each with a client CA of its own. */
async function twoTenants(t: Test, version: string): Promise<Setting> {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setStage(t, { nodes: [node.address], listener: `      minTlsVersion: ${version}` });
  const servers = await createAuthority('other servers');
  const clients = await createAuthority('other clients');
  const server = await servers.issueServer({ dnsNames: [OTHER] });
  await writeCertificates(join(stage.folder, 'certs', OTHER), server, clients.certificatePem);
  const yaml = tenantYaml({ nodes: [node.address] })
    .replace('tenant-a', 'tenant-b')
    .replace(HOST, OTHER);
  await writeFile(join(stage.folder, 'policies', 'tenants', 'tenant-b.yaml'), yaml);
  t.same((await stage.gateway.reload()).faults, []);
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-sessions-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return { stage, folder, workerB: await clients.issueClient({ commonName: 'worker b' }) };
}

interface Visit {
  readonly name: string;
  readonly version: string;
  readonly worker?: IssuedPair;
  readonly offer?: string;
  readonly keep?: string;
}

/** One request; `answer` is empty when the connection was refused. */
async function visit({ stage, folder }: Setting, { name, version, worker, offer, keep }: Visit) {
  const args = [
    's_client',
    '-connect',
    `127.0.0.1:${stage.port}`,
    '-servername',
    name,
    `-${version}`,
    '-ign_eof',
  ];
  if (worker !== undefined) {
    const files = [join(folder, 'worker.pem'), join(folder, 'worker.key')] as const;
    await writeFile(files[0], worker.certificatePem);
    await writeFile(files[1], worker.privateKeyPem);
    args.push('-cert', files[0], '-key', files[1]);
  }
  if (offer !== undefined) args.push('-sess_in', join(folder, offer));
  if (keep !== undefined) args.push('-sess_out', join(folder, keep));
  const child = spawn('openssl', args);
  let output = '';
  child.stdout.on('data', (piece: Buffer) => {
    output += piece.toString('latin1');
  });
  child.stderr.resume();
  child.stdin.on('error', () => undefined);
  child.stdin.write(`GET /open/x HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
  await new Promise((resolve) => child.on('close', resolve));
  return {
    resumed: /^Reused, /m.test(output),
    answer: /HTTP\/1\.1 (\d{3})/.exec(output)?.[1] ?? '',
  };
}

for (const [version, policyVersion] of [
  ['tls1_3', 'TLSv1.3'],
  ['tls1_2', 'TLSv1.2'],
] as const) {
  t.test(version, async (t) => {
    const setting = await twoTenants(t, policyVersion);
    const { worker } = setting.stage;
    const at = (name: string, more: Partial<Visit> = {}) => visit(setting, { name, version, ...more });
    t.same(await at(HOST, { worker, keep: 'a' }), { resumed: false, answer: '200' });
    t.same(await at(HOST, { worker, offer: 'a' }), { resumed: true, answer: '200' }, 'the same name resumes');
    t.same(
      await at(HOST, { offer: 'a' }),
      { resumed: true, answer: '200' },
      'with the certificate of the session',
    );
    t.same(await at(OTHER, { worker, offer: 'a' }), { resumed: false, answer: '' }, 'not elsewhere, with it');
    t.same(await at(OTHER, { offer: 'a' }), { resumed: false, answer: '' }, 'nor with none');
    const { workerB } = setting;
    t.same(
      await at(OTHER, { worker: workerB, offer: 'a', keep: 'b' }),
      { resumed: false, answer: '200' },
      'the full handshake decides',
    );
    t.same(await at(OTHER, { worker: workerB, offer: 'b' }), { resumed: true, answer: '200' });
    t.same(
      await at(HOST, { worker: workerB, offer: 'b' }),
      { resumed: false, answer: '' },
      'nor the other way',
    );
    t.same(await at(HOST, { offer: 'b' }), { resumed: false, answer: '' });
    const lines = await setting.stage.log(5);
    t.same(
      lines.map((line) => [line['tenant'], line['tls.resumed'], line['tls.client.subject']]),
      [
        ['tenant-a', false, 'CN=worker'],
        ['tenant-a', true, 'CN=worker'],
        ['tenant-a', true, 'CN=worker'],
        ['tenant-b', false, 'CN=worker b'],
        ['tenant-b', true, 'CN=worker b'],
      ],
      'a resumed session has the certificate it began with',
    );
  });
}

t.test('a session made before the client CA changed is met by a full handshake', async (t) => {
  const setting = await twoTenants(t, 'TLSv1.3');
  const { stage } = setting;
  const version = 'tls1_3';
  const { worker } = stage;
  t.match(await visit(setting, { name: HOST, version, worker, keep: 'a' }), { answer: '200' });
  const others = await createAuthority('new clients');
  await writeFile(join(stage.folder, 'certs', HOST, 'clients.pem'), others.certificatePem);
  t.same((await stage.gateway.reload()).faults, []);
  t.same(await visit(setting, { name: HOST, version, worker, offer: 'a' }), { resumed: false, answer: '' });
  t.same(await visit(setting, { name: HOST, version, offer: 'a' }), { resumed: false, answer: '' });
});

t.test('sessionResumption: off gives no session that could be offered', async (t) => {
  const node = await rawNode(t, (socket) => socket.write(OK));
  const stage = await setStage(t, {
    nodes: [node.address],
    listener: '      minTlsVersion: TLSv1.2\n      sessionResumption: off',
  });
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-sessions-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const setting = { stage, folder, workerB: stage.worker };
  for (const version of ['tls1_2', 'tls1_3']) {
    const { worker } = stage;
    t.match(await visit(setting, { name: HOST, version, worker, keep: version }), { answer: '200' });
    const again = visit(setting, { name: HOST, version, worker, offer: version });
    t.same((await again).resumed, false, version);
  }
});
