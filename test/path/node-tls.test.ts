/** Nodes over https: whom the gateway trusts, what it shows them, and what a caller sees if that fails. */
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import t, { type Test } from 'tap';
import { createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { exchange, HOST, isWhole, rawNode, type Stage, setStage, sleep } from './stage.ts';

const NAME = 'node.internal';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const GET = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

const nodes = await createAuthority('nodes');
const gateways = await createAuthority('gateways');
const node = await nodes.issueServer({ dnsNames: [NAME] });
const gateway = await gateways.issueClient({ commonName: 'gateway' });

interface SecureNode {
  readonly address: string;
  /** For each connection the name asked for, the certificate shown and the protocol. */
  readonly seen: { name: string | false; shown: string; protocol: string | null; alpn: string }[];
  readonly sockets: readonly TLSSocket[];
  /** Everything received on all connections. */
  received(): string;
}

/** A node that requires a certificate of the authority of the gateways, and answers `OK` unless told otherwise. */
async function secureNode(t: Test, more: TlsOptions = {}, answer = OK): Promise<SecureNode> {
  const seen: SecureNode['seen'] = [];
  const sockets: TLSSocket[] = [];
  let received = '';
  const options = {
    cert: node.certificatePem,
    key: node.privateKeyPem,
    ca: gateways.certificatePem,
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
    ...more,
  };
  const server = createServer(options, (socket) => {
    sockets.push(socket);
    const subject = socket.getPeerX509Certificate()?.subject ?? '';
    const { servername } = socket as TLSSocket & { servername: string | false };
    const alpn = String(socket.alpnProtocol);
    seen.push({ name: servername, shown: subject, protocol: socket.getProtocol(), alpn });
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (received.endsWith('\r\n\r\n')) socket.write(answer);
    });
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { address: `https://127.0.0.1:${port}`, seen, sockets, received: () => received };
}

/** A gateway whose upstream has these keys of `tls`; the files are written beside the policy of the tenant. */
async function stageTo(t: Test, address: string, tls: string, pair: IssuedPair = gateway): Promise<Stage> {
  const stage = await setStage(t, { nodes: [address], upstream: `    tls: { ${tls} }` });
  await writeNodeFiles(stage, nodes.certificatePem, pair);
  await stage.gateway.reload();
  return stage;
}

async function writeNodeFiles(stage: Stage, ca: string, pair: IssuedPair): Promise<void> {
  const folder = join(stage.folder, 'policies', 'tenants');
  await writeFile(join(folder, 'ca.pem'), ca);
  await writeFile(join(folder, 'gateway.key'), pair.privateKeyPem);
  await writeFile(join(folder, 'gateway.pem'), pair.certificatePem);
}

t.test('health checks use the same TLS as requests, each on its own connection', async (t) => {
  const node = await secureNode(t);
  const tls = `ca: ca.pem, cert: gateway.pem, key: gateway.key, serverName: ${NAME} }
    health: { path: /healthz, interval: 100ms`;
  const stage = await stageTo(t, node.address, tls);
  while (node.seen.length < 3) await sleep(10);
  t.match(node.received(), /^GET \/healthz HTTP\/1\.1\r\n/);
  for (const seen of node.seen) t.match(seen, { name: NAME, shown: 'CN=gateway', alpn: 'http/1.1' });
  const text = await (await fetch(`${stage.admin}/metrics`)).text();
  t.match(text, /patchgate_node_up\{upstream="tenant-a\/sync",node="https:[^"]*"\} 1\n/);
});

/** Node ends such a connection without an alert. */
const ENDED = /ALERT|ECONNRESET|closed the connection/;
const MUTUAL = `ca: ca.pem, cert: gateway.pem, key: gateway.key, serverName: ${NAME}`;

async function ask(stage: Stage): Promise<string> {
  const socket = await stage.connect();
  const answer = await exchange(socket, GET, isWhole);
  socket.destroy();
  return answer;
}

/** Asks a fresh gateway once, and returns the status and what the log says about it. */
async function refusal(t: Test, address: string, tls: string, pair?: IssuedPair): Promise<unknown[]> {
  const stage = await stageTo(t, address, tls, pair);
  const answer = await ask(stage);
  const [line] = await stage.log(1);
  return [answer.slice(9, 12), line?.['denial.code'], String(line?.['cause']).replace(`${address}: `, '')];
}

t.test('a node gets the name, the certificate and TLS 1.3 over connections that are kept', async (t) => {
  const peer = await secureNode(t);
  const stage = await stageTo(t, peer.address, MUTUAL);
  t.match(await ask(stage), /^HTTP\/1\.1 200 /);
  t.match(await ask(stage), /^HTTP\/1\.1 200 /);
  t.same(peer.seen, [{ name: NAME, shown: 'CN=gateway', protocol: 'TLSv1.3', alpn: 'http/1.1' }]);
});

t.test('a body of many records arrives as it was sent', async (t) => {
  const peer = await secureNode(t);
  const stage = await stageTo(t, peer.address, MUTUAL);
  const body = Array.from({ length: 200_000 }, (_, index) => String(index % 97).padStart(16)).join('');
  const socket = await stage.connect();
  const head = `PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${body.length + 4}\r\n\r\n`;
  t.match(await exchange(socket, `${head}${body}\r\n\r\n`, isWhole), /^HTTP\/1\.1 200 /);
  t.ok(peer.received().endsWith(`\r\n\r\n${body}\r\n\r\n`));
  socket.destroy();
});

t.test('an address as host must be among the addresses of the certificate', async (t) => {
  const pair = await nodes.issueServer({ dnsNames: [], addresses: ['127.0.0.1'] });
  const peer = await secureNode(t, { cert: pair.certificatePem, key: pair.privateKeyPem });
  const stage = await stageTo(t, peer.address, 'ca: ca.pem, cert: gateway.pem, key: gateway.key');
  t.match(await ask(stage), /^HTTP\/1\.1 200 /);
  t.match(peer.seen, [{ name: false }], 'an address is not sent as server name');
});

t.test('a node that is not who it should be is sent nothing', async (t) => {
  const peer = await secureNode(t);
  const others = await createAuthority('nodes');
  const otherAuthority = await stageTo(t, peer.address, MUTUAL);
  await writeNodeFiles(otherAuthority, others.certificatePem, gateway);
  await otherAuthority.gateway.reload();
  t.match(
    await ask(otherAuthority),
    /^HTTP\/1\.1 503 /,
    'an authority of the same name with another key is not trusted',
  );
  const [line] = await otherAuthority.log(1);
  t.match(line, { 'denial.code': 'node-unavailable', cause: /SIGNATURE_FAILURE|SELF_SIGNED|UNABLE_TO/ });
  t.same(await refusal(t, peer.address, MUTUAL.replace(NAME, 'other.internal')), [
    '503',
    'node-unavailable',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ]);
  const ended = await nodes.issueServer({ dnsNames: [NAME], notAfter: new Date(Date.now() - 1000) });
  const old = await secureNode(t, { cert: ended.certificatePem, key: ended.privateKeyPem });
  t.same(await refusal(t, old.address, MUTUAL), ['503', 'node-unavailable', 'CERT_HAS_EXPIRED']);
  t.equal(peer.received() + old.received(), '');
});

t.test('the policy decides on the oldest TLS version', async (t) => {
  const peer = await secureNode(t, { maxVersion: 'TLSv1.2' });
  const refused = await refusal(t, peer.address, MUTUAL);
  t.match(refused, ['503', 'node-unavailable', /PROTOCOL_VERSION/]);
  const stage = await stageTo(t, peer.address, `${MUTUAL}, minTlsVersion: TLSv1.2`);
  t.match(await ask(stage), /^HTTP\/1\.1 200 /);
  t.match(peer.seen, [{ protocol: 'TLSv1.2' }]);
});

t.test('a node that requires another certificate, or one at all, breaks off', async (t) => {
  const peer = await secureNode(t);
  const stranger = await nodes.issueClient({ commonName: 'stranger' });
  t.match(await refusal(t, peer.address, MUTUAL, stranger), ['502', 'node-failed', ENDED]);
  const without = `ca: ca.pem, serverName: ${NAME}`;
  t.match(await refusal(t, peer.address, without), ['502', 'node-failed', ENDED]);
  t.equal(peer.received(), '');
});

t.test('a port without TLS is unavailable, and a silent one times out', async (t) => {
  const plain = await rawNode(t, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const url = `https://${plain.address}`;
  t.match(await refusal(t, url, MUTUAL), ['503', 'node-unavailable', /SSL|ECONNRESET/]);
  const mute = createTcpServer(() => undefined);
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  t.teardown(() => mute.close());
  const { port } = mute.address() as AddressInfo;
  const stalled = await stageTo(
    t,
    `https://127.0.0.1:${port}`,
    `${MUTUAL} }\n    timeouts: { connect: 150ms`,
  );
  t.match(await ask(stalled), /^HTTP\/1\.1 504 /, 'the handshake counts towards the time to connect');
});

t.test('a caller that leaves amid its upload causes a reset at the node', async (t) => {
  const peer = await secureNode(t);
  const stage = await stageTo(t, peer.address, MUTUAL);
  const socket = await stage.connect();
  socket.write(`PUT /open/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(1000)}`);
  while (!peer.received().includes('xxx')) await sleep(5);
  const [behind] = peer.sockets;
  const codes: (string | undefined)[] = [];
  behind?.on('error', (error: NodeJS.ErrnoException) => codes.push(error.code));
  const closed = new Promise((resolve) => behind?.on('close', resolve));
  socket.destroy();
  await closed;
  t.same(codes, ['ECONNRESET']);
});

t.test('changed files apply to the next connection, and idle older ones are not reused', async (t) => {
  const peer = await secureNode(t);
  const stage = await stageTo(t, peer.address, MUTUAL);
  t.match(await ask(stage), /^HTTP\/1\.1 200 /);
  await writeNodeFiles(stage, nodes.certificatePem, await gateways.issueClient({ commonName: 'renewed' }));
  for (let waits = 0; peer.seen.length < 2 && waits < 200; waits += 1) {
    t.match(await ask(stage), /^HTTP\/1\.1 200 /);
    await sleep(20);
  }
  t.same(
    peer.seen.map(({ shown }) => shown),
    ['CN=gateway', 'CN=renewed'],
  );
  await writeNodeFiles(stage, 'nothing', gateway);
  await sleep(1500);
  t.match(await ask(stage), /^HTTP\/1\.1 200 /, 'the last good files stay');
  t.match(await (await fetch(`${stage.admin}/policy`)).text(), /ca\.pem:1:1: contains something other/);
});

t.test('missing TLS files are reported, and nothing is sent in the clear instead', async (t) => {
  const peer = await secureNode(t);
  const stage = await setStage(t, { nodes: [peer.address], upstream: `    tls: { ${MUTUAL} }` });
  t.match(await ask(stage), /^HTTP\/1\.1 503 /);
  t.match(await stage.log(1), [{ cause: /its TLS files cannot be used/ }]);
  const status = await (await fetch(`${stage.admin}/policy`)).text();
  for (const file of ['ca.pem', 'gateway.pem', 'gateway.key']) t.match(status, `${file}:1:1: cannot be read`);
  t.equal(peer.seen.length, 0);
});
