/** A PROXY header before the handshake names the client if a trusted proxy wrote it; any other is no handshake. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect as dial, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { exchange, HOST, isWhole, rawNode, type Stage, secure, setStage, sleep } from '../path/stage.ts';
import { checksummed, v1, v2 } from './proxy-headers.ts';

const GET = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const TRUSTED = '      trustedProxies: [127.0.0.0/8, 10.0.0.0/8]';

interface Scene extends Stage {
  readonly received: readonly string[];
}

async function stageWith(t: Test, proxyProtocol: string, trusted = TRUSTED, gateway = ''): Promise<Scene> {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const listener = `${trusted}\n      proxyProtocol: ${proxyProtocol}`;
  return { ...(await setStage(t, { nodes: [node.address], listener, gateway })), received: node.received };
}

async function tcp(stage: Stage): Promise<Socket> {
  const socket = dial(stage.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** The answer to a request behind a header, empty if the connection was refused. */
async function ask(stage: Stage, header: Buffer, request = GET): Promise<string> {
  const socket = await tcp(stage);
  socket.write(header);
  const { worker, ca } = stage;
  const options = { servername: HOST, ca, cert: worker.certificatePem, key: worker.privateKeyPem };
  const callerSocket = await secure({ ...options, socket }).catch(() => undefined);
  if (callerSocket === undefined) return '';
  const answer = await exchange(callerSocket, request, isWhole);
  callerSocket.destroy();
  return answer;
}

async function counted(stage: Stage, outcome: string): Promise<number> {
  const text = await (await fetch(`${stage.admin}/metrics`)).text();
  return Number(new RegExp(`handshakes_total\\{[^}]*outcome="${outcome}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
}

t.test('the client of the header is the one in the log, at the node and for the allowlist', async (t) => {
  const stage = await stageWith(t, 'accept');
  for (const header of [v1('203.0.113.7'), v2('203.0.113.7'), checksummed('203.0.113.7')]) {
    t.match(await ask(stage, header), /^HTTP\/1\.1 200 /);
  }
  t.match(await ask(stage, v2('198.51.100.1')), /^HTTP\/1\.1 403 .*"code":"address-denied"/s);
  t.match(await ask(stage, Buffer.alloc(0)), /^HTTP\/1\.1 200 /, 'without a header the peer is the client');
  t.match(
    await ask(stage, v2('198.51.100.1', { command: 0x20 })),
    /^HTTP\/1\.1 200 /,
    'a header of the proxy itself leaves the peer as the client',
  );
  const lines = await stage.log(6);
  t.same(
    lines.map((line) => line['client.address']),
    ['203.0.113.7', '203.0.113.7', '203.0.113.7', '198.51.100.1', '127.0.0.1', '127.0.0.1'],
  );
  t.ok(lines.every((line) => line['network.peer.address'] === '127.0.0.1'));
  t.match(stage.received.join(''), /X-Forwarded-For: 203\.0\.113\.7/i);
});

t.test('behind a header X-Forwarded-For is followed only if that hop is trusted too', async (t) => {
  const stage = await stageWith(t, 'accept');
  const forwarded = `${GET.trimEnd()}\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.3\r\n\r\n`;
  t.match(await ask(stage, v2('10.0.0.5'), forwarded), /^HTTP\/1\.1 200 /);
  t.match(await ask(stage, v2('203.0.113.7'), forwarded), /^HTTP\/1\.1 200 /);
  const lines = await stage.log(2);
  t.same(
    lines.map((line) => line['client.address']),
    ['203.0.113.9', '203.0.113.7'],
  );
});

t.test('where a header is required, a missing, untrusted or faulty one is refused', async (t) => {
  const stage = await stageWith(t, 'require');
  t.match(await ask(stage, v1('203.0.113.7')), /^HTTP\/1\.1 200 /);
  t.equal(await ask(stage, Buffer.alloc(0)), '');
  t.equal(await ask(stage, v2('203.0.113.7', { family: 0 })), '');
  t.equal(await counted(stage, 'bad-proxy-header'), 2);
  const strict = await stageWith(t, 'require', '      trustedProxies: [10.0.0.0/8]');
  t.equal(await ask(strict, v1('203.0.113.7')), '');
  t.equal(await counted(strict, 'bad-proxy-header'), 1);
});

t.test('a header from an untrusted peer is not believed and counts as a bad ClientHello', async (t) => {
  const untrusted = await stageWith(t, 'accept', '      trustedProxies: [10.0.0.0/8]');
  const off = await stageWith(t, 'off');
  for (const stage of [untrusted, off]) {
    t.equal(await ask(stage, v1('203.0.113.7')), '');
    t.equal(await ask(stage, v2('203.0.113.7')), '');
    t.equal(await counted(stage, 'bad-client-hello'), 2);
    t.match(await ask(stage, Buffer.alloc(0)), /^HTTP\/1\.1 200 /);
  }
});

t.test('header and hello may come byte by byte, and a sender that stops is closed in time', async (t) => {
  const stage = await stageWith(t, 'require', TRUSTED, '  timeouts: { handshake: 500ms }');
  const slow = await tcp(stage);
  slow.setNoDelay(true);
  for (const byte of v2('203.0.113.7')) {
    slow.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { worker, ca } = stage;
  const options = { servername: HOST, ca, cert: worker.certificatePem, key: worker.privateKeyPem };
  const socket = await secure({ ...options, socket: slow });
  t.match(await exchange(socket, GET, isWhole), /^HTTP\/1\.1 200 /);
  socket.destroy();
  const stopped = await tcp(stage);
  stopped.resume();
  stopped.write(v2('203.0.113.7').subarray(0, 20));
  await once(stopped, 'close');
  t.equal(await counted(stage, 'timeout'), 1);
});

t.test('the connection limit of one address is that of the client, not of its proxy', async (t) => {
  const stage = await stageWith(t, 'require', TRUSTED, '  limits: { connectionsPerAddress: 2 }');
  const held: Socket[] = [];
  for (const source of ['203.0.113.1', '203.0.113.1', '203.0.113.2', '203.0.113.2']) {
    const socket = await tcp(stage);
    socket.write(v2(source));
    held.push(socket);
  }
  await sleep(50);
  t.equal(await ask(stage, v2('203.0.113.1')), '', 'the third connection of the client is refused');
  t.match(await ask(stage, v2('203.0.113.3')), /^HTTP\/1\.1 200 /);
  for (const socket of held) socket.destroy();
  await sleep(50);
  t.match(await ask(stage, v2('203.0.113.1')), /^HTTP\/1\.1 200 /, 'places are given back');
});

t.test('a header that curl writes is accepted', async (t) => {
  const stage = await stageWith(t, 'require');
  const { worker } = stage;
  const folder = t.testdir({
    'ca.pem': stage.ca,
    'w.pem': worker.certificatePem,
    'w.key': worker.privateKeyPem,
  });
  const { stdout } = await promisify(execFile)('curl', [
    ...['--haproxy-protocol', '--silent', '--include', '--max-time', '10'],
    ...['--cacert', join(folder, 'ca.pem'), '--cert', join(folder, 'w.pem'), '--key', join(folder, 'w.key')],
    ...['--connect-to', `${HOST}:443:127.0.0.1:${stage.port}`, `https://${HOST}/open/x`],
  ]);
  t.match(stdout, /^HTTP\/1\.1 200 /);
  t.match(await stage.log(1), [{ 'client.address': '127.0.0.1' }]);
});
