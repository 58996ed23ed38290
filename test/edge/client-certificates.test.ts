/** Client certificates of every wrong kind: each is refused after its handshake, counted once, and affects nobody else. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { OpensslFolder } from '../certificates/openssl.ts';
import {
  exchange,
  HOST,
  isWhole,
  rawNode,
  type Stage,
  type StageOptions,
  setStage,
  sleep,
  writeCertificates,
} from '../path/stage.ts';

const GET = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const CLIENT = 'basicConstraints=CA:false\nextendedKeyUsage=clientAuth\n';
const DAY_MS = 86_400_000;

interface Scene extends Stage {
  readonly received: readonly string[];
}

async function stageWith(t: Test, options: Partial<StageOptions> = {}): Promise<Scene> {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  return { ...(await setStage(t, { nodes: [node.address], ...options })), received: node.received };
}

/** A gateway whose tenant accepts clients of `authority` beside the good callers. */
async function stageTrusting(
  t: Test,
  authority: string,
  options: Partial<StageOptions> = {},
): Promise<Scene> {
  const stage = await stageWith(t, options);
  writeFileSync(join(stage.folder, 'certs', HOST, 'clients.pem'), stage.clients.certificatePem + authority);
  await stage.gateway.reload();
  return stage;
}

/** The answer to one request, empty if the connection was refused. */
async function answerTo(stage: Stage, cert: string, key: string): Promise<string> {
  const socket = await stage.connect({ cert, key }).catch(() => undefined);
  if (socket === undefined) return '';
  const answer = await exchange(socket, GET, isWhole);
  socket.destroy();
  return answer;
}

async function outcomes(stage: Stage): Promise<Record<string, number>> {
  const text = await (await fetch(`${stage.admin}/metrics`)).text();
  const counts: Record<string, number> = {};
  for (const [, outcome = '', count] of text.matchAll(
    /patchgate_tls_handshakes_total\{[^}]*outcome="([^"]*)"\} (\d+)/g,
  )) {
    if (Number(count) > 0) counts[outcome] = (counts[outcome] ?? 0) + Number(count);
  }
  return counts;
}

/** Expects one refusal, counted once; after it a good caller is served. */
async function refusedOnce(t: Test, stage: Scene, cert: string, key: string, title: string): Promise<void> {
  const before = await outcomes(stage);
  t.equal(await answerTo(stage, cert, key), '', title);
  const after = await outcomes(stage);
  t.equal((after['certificate-denied'] ?? 0) - (before['certificate-denied'] ?? 0), 1, `${title}: counted`);
  const { worker } = stage;
  t.match(await answerTo(stage, worker.certificatePem, worker.privateKeyPem), /^HTTP\/1\.1 200 /);
}

t.test('a certificate that is expired, not yet valid or of an impostor is refused', async (t) => {
  const stage = await stageWith(t);
  const { clients } = stage;
  const [yesterday, tomorrow] = [new Date(Date.now() - DAY_MS), new Date(Date.now() + DAY_MS)];
  const past = await clients.issueClient({ commonName: 'past', notAfter: yesterday, notBefore: new Date(0) });
  await refusedOnce(t, stage, past.certificatePem, past.privateKeyPem, 'an expired certificate is refused');
  const early = await clients.issueClient({ commonName: 'early', notBefore: tomorrow });
  await refusedOnce(t, stage, early.certificatePem, early.privateKeyPem, 'an early certificate is refused');
  const impostor = await createAuthority('clients');
  const forged = await impostor.issueClient({ commonName: 'worker' });
  const chain = forged.certificatePem + impostor.certificatePem;
  await refusedOnce(t, stage, forged.certificatePem, forged.privateKeyPem, 'an impostor is refused');
  await refusedOnce(t, stage, chain, forged.privateKeyPem, 'an impostor with its chain is refused');
});

t.test('a chain with up to eight intermediates is accepted, and a longer one is refused', async (t) => {
  const pki = new OpensslFolder(t.testdir({}));
  pki.issue('ca-0');
  const chains: string[] = [''];
  for (let depth = 1; depth < 20; depth += 1) {
    pki.issue(`ca-${depth}`, { by: `ca-${depth - 1}` });
    chains.push(pki.certificate(`ca-${depth}`) + chains[depth - 1]);
  }
  const leafBelow = (depth: number): [chain: string, key: string] => {
    pki.issue(`leaf-${depth}`, { by: `ca-${depth}`, extensions: CLIENT });
    return [pki.certificate(`leaf-${depth}`) + chains[depth], pki.key(`leaf-${depth}`)];
  };
  const stage = await stageTrusting(t, pki.certificate('ca-0'));
  t.match(await answerTo(stage, ...leafBelow(0)), /^HTTP\/1\.1 200 /, 'a direct leaf is accepted');
  t.match(await answerTo(stage, ...leafBelow(8)), /^HTTP\/1\.1 200 /, 'eight intermediates are accepted');
  await refusedOnce(t, stage, ...leafBelow(9), 'a chain of nine intermediates is refused');
  await refusedOnce(t, stage, ...leafBelow(19), 'a chain of nineteen intermediates is refused');
});

t.test('certificates of more than 17 KiB are refused', async (t) => {
  const pki = new OpensslFolder(t.testdir({}));
  pki.issue('ca');
  const names = Array.from({ length: 1000 }, (_, index) => `DNS:w${index}.example.test`).join(',');
  pki.issue('wide', { by: 'ca', extensions: `${CLIENT}subjectAltName=${names}\n` });
  const stage = await stageTrusting(t, pki.certificate('ca'));
  t.ok(pki.certificate('wide').length > 17 * 1024);
  await refusedOnce(t, stage, pki.certificate('wide'), pki.key('wide'), 'a large leaf is refused');
  pki.issue('good', { by: 'ca', extensions: CLIENT });
  const stuffed = pki.certificate('good') + pki.certificate('wide');
  await refusedOnce(t, stage, stuffed, pki.key('good'), 'a good leaf beside it is refused');
});

t.test('nodes get the certificate of the caller, and callers cannot forge the fields for it', async (t) => {
  const pki = new OpensslFolder(t.testdir({}));
  pki.issue('ca');
  pki.issue('middle', { by: 'ca' });
  pki.issue('leaf', { by: 'middle', extensions: CLIENT });
  const route = (name: string, more: string): string => `  - name: ${name}
    match: { methods: [GET], path: '/${name}/**' }
    require: none
${more}    upstream: sync
`;
  const routes = route('chain', '    forwardCertificateChain: true\n') + route('leaf', '');
  const stage = await stageTrusting(t, pki.certificate('ca'), { routes });
  const fieldOf = (name: string): string =>
    `:${pki.certificate(name).replaceAll(/-----[^-]*-----|\n/g, '')}:`;
  const socket = await stage.connect({
    cert: pki.certificate('leaf') + pki.certificate('middle'),
    key: pki.key('leaf'),
  });
  for (const path of ['/chain/x', '/leaf/x']) {
    const forged = 'Client-Cert: :Zm9yZ2Vk:\r\nClient-Cert-Chain: :Zm9yZ2Vk:\r\n';
    await exchange(socket, `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${forged}\r\n`, isWhole);
  }
  socket.destroy();
  const [chained = '', alone = ''] = stage.received.join('').split(/(?=GET \/leaf)/);
  const fields = (text: string): string[] => text.split('\r\n').filter((line) => /^client-cert/i.test(line));
  t.same(fields(chained), [`Client-Cert: ${fieldOf('leaf')}`, `Client-Cert-Chain: ${fieldOf('middle')}`]);
  t.same(fields(alone), [`Client-Cert: ${fieldOf('leaf')}`]);
});

t.test('renegotiation is refused, and only its own connection ends', async (t) => {
  const stage = await stageWith(t, { listener: '      minTlsVersion: TLSv1.2' });
  const { worker } = stage;
  const folder = t.testdir({ 'w.pem': worker.certificatePem, 'w.key': worker.privateKeyPem });
  const args = ['s_client', '-connect', `127.0.0.1:${stage.port}`, '-servername', HOST, '-tls1_2'];
  const files = ['-cert', join(folder, 'w.pem'), '-key', join(folder, 'w.key')];
  const child = spawn('openssl', [...args, ...files, '-msg']);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => {
      output += piece.toString('latin1');
    });
  }
  while (!output.includes('Verify return code')) await sleep(10);
  child.stdin.write('R\n');
  await once(child, 'close');
  t.match(output, /RENEGOTIATING/);
  t.match(output, /no[_ ]renegotiation/i);
  t.match(await answerTo(stage, worker.certificatePem, worker.privateKeyPem), /^HTTP\/1\.1 200 /);
});

/** The first bytes of a client. */
function helloFor(servername: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read: () => undefined, write: (chunk: Buffer) => resolve(chunk) });
    connect({ socket: wire, servername });
  });
}

t.test('a handshake that stops after its hello is closed in time', async (t) => {
  const stage = await stageWith(t, { gateway: '  timeouts: { handshake: 300ms }' });
  const socket = dial(stage.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(await helloFor(HOST));
  await once(socket, 'close');
  t.same(await outcomes(stage), { timeout: 1 });
  const { worker } = stage;
  t.match(await answerTo(stage, worker.certificatePem, worker.privateKeyPem), /^HTTP\/1\.1 200 /);
});

t.test('each tenant decides whether callers show a certificate', async (t) => {
  for (const [listener, tenant, expected] of [
    ['require', 'none', 'HTTP/1.1 200'],
    ['require', 'optional', 'HTTP/1.1 200'],
    ['none', 'require', ''],
    ['optional', 'require', ''],
  ]) {
    const stage = await stageWith(t, {
      listener: `      clientCertificates: ${listener}`,
      addresses: `clientCertificates: ${tenant}`,
    });
    t.equal(
      (await answerTo(stage, '', '')).slice(0, 12),
      expected,
      `the listener says ${listener}, the tenant ${tenant}`,
    );
  }
  const old = await stageWith(t, { addresses: 'minTlsVersion: TLSv1.2' });
  const socket = await old.connect({ maxVersion: 'TLSv1.2' });
  t.match(await exchange(socket, GET, isWhole), /^HTTP\/1\.1 200 /, 'the tenant decides on the oldest TLS');
  socket.destroy();
});

t.test('with RSA beside ECDSA a caller gets the certificate it can verify', async (t) => {
  const listener = '      minTlsVersion: TLSv1.2\n      clientCertificates: none';
  const stage = await stageWith(t, { listener });
  const pki = new OpensslFolder(t.testdir({}));
  pki.issue('rsa', { kind: 'rsa', extensions: `basicConstraints=CA:false\nsubjectAltName=DNS:${HOST}\n` });
  const folder = join(stage.folder, 'certs', HOST);
  writeFileSync(join(folder, 'chain.rsa.pem'), pki.certificate('rsa'));
  writeFileSync(join(folder, 'key.rsa.pem'), pki.key('rsa'));
  await stage.gateway.reload();
  for (const [sigalgs, type] of [
    ['rsa_pss_rsae_sha256:rsa_pkcs1_sha256', 'rsa'],
    ['ecdsa_secp256r1_sha256', 'ec'],
    ['ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256', 'ec'],
  ] as const) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const versions = { minVersion: version, maxVersion: version };
      const trust = { rejectUnauthorized: false, cert: '', key: '' };
      const socket = await stage.connect({ ...versions, ...trust, sigalgs });
      t.equal(socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType, type, `${version} ${sigalgs}`);
      socket.destroy();
    }
  }
});

t.test('a wildcard folder serves names one label longer, and an exact folder takes precedence', async (t) => {
  const stage = await stageWith(t);
  const servers = await createAuthority('wild');
  const certs = join(stage.folder, 'certs');
  const wild = await servers.issueServer({ dnsNames: ['*.w.test'] });
  await writeCertificates(join(certs, '_.w.test'), wild, stage.clients.certificatePem);
  const exact = await servers.issueServer({ dnsNames: ['x.w.test'] });
  await writeCertificates(join(certs, 'x.w.test'), exact, stage.clients.certificatePem);
  const tenant = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  const text = await readFile(tenant, 'utf8');
  await writeFile(tenant, text.replace(/serverNames: .*/, "serverNames: [a.test, '*.w.test', x.w.test]"));
  t.same((await stage.gateway.reload()).faults, []);
  const shown = async (servername: string): Promise<string | undefined> => {
    const socket = await stage.connect({ servername, ca: servers.certificatePem });
    const answer = await exchange(socket, GET.replace(HOST, servername), isWhole);
    t.match(answer, /^HTTP\/1\.1 200 /);
    const name = socket.getPeerX509Certificate()?.subjectAltName;
    socket.destroy();
    return name;
  };
  t.equal(await shown('y.w.test'), 'DNS:*.w.test');
  t.equal(await shown('x.w.test'), 'DNS:x.w.test');
  await t.rejects(stage.connect({ servername: 'y.x.w.test' }), { message: /unrecognized name/ });
  await t.rejects(stage.connect({ servername: 'w.test' }), { message: /unrecognized name/ });
});
