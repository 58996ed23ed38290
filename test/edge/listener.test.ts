/** Everything that reaches a listener without an accepted handshake is counted by kind and affects nobody else. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as dial, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { createAuthority } from '../../gateway/demo/pki.ts';
import {
  exchange,
  HOST,
  isWhole,
  rawNode,
  type Stage,
  type StageOptions,
  setStage,
  sleep,
} from '../path/stage.ts';

const GET = `GET /open/x HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const HELLO = Buffer.from(
  readFileSync(new URL('hellos/curl.hex', import.meta.url), 'utf8').replaceAll(/\s/g, ''),
  'hex',
);

async function stageWith(t: Test, options: Partial<StageOptions> = {}): Promise<Stage> {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  return setStage(t, { nodes: [node.address], ...options });
}

/** How often handshakes had this outcome, over all tenants and versions. */
async function counted(stage: Stage, outcome: string): Promise<number> {
  const text = await (await fetch(`${stage.admin}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.includes(`outcome="${outcome}"`));
  return lines
    .filter((line) => line.startsWith('patchgate_tls_handshakes_total'))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

async function plain(stage: Stage): Promise<Socket> {
  const socket = dial(stage.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

function received(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  return new Promise((resolve) => socket.on('close', () => resolve(Buffer.concat(pieces))));
}

async function refused(t: Test, attempt: Promise<Socket>, why: string): Promise<void> {
  // In TLS 1.3 the client may consider the handshake done before the server has checked its certificate.
  const socket = await attempt.catch(() => undefined);
  const answer = socket === undefined ? '' : (await received(socket)).toString('latin1');
  t.equal(answer, '', why);
}

async function stillServes(t: Test, stage: Stage): Promise<void> {
  const socket = await stage.connect();
  t.match(await exchange(socket, GET, isWhole), /^HTTP\/1\.1 200 /, 'a good caller is served');
  socket.destroy();
}

t.test('a handshake for an unknown server name or none is refused with unrecognized_name', async (t) => {
  const stage = await stageWith(t);
  await t.rejects(stage.connect({ servername: 'nobody.test' }), { message: /unrecognized name/ });
  await t.rejects(stage.connect({ servername: '' }), { message: /unrecognized name/ });
  await t.rejects(stage.connect({ servername: 'x.a.test' }), { message: /unrecognized name/ });
  t.equal(await counted(stage, 'unknown-name'), 3);
  await stillServes(t, stage);
});

t.test('a server name is found whatever its case', async (t) => {
  const stage = await stageWith(t);
  const socket = await stage.connect({ servername: 'A.TEST', checkServerIdentity: () => undefined });
  t.match(await exchange(socket, GET, isWhole), /^HTTP\/1\.1 200 /);
  socket.destroy();
});

t.test('bytes that are no ClientHello are answered by closing the connection', async (t) => {
  const stage = await stageWith(t);
  const oversized = Buffer.concat([
    Buffer.from([0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]),
    Buffer.alloc(16_379),
  ]);
  const notHellos = [
    'GET / HTTP/1.1\r\n\r\n',
    'SSH-2.0-x\r\n',
    '\x15\x03\x01\x00\x02\x02\x28',
    '\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00',
    oversized.toString('latin1'),
  ];
  for (const text of notHellos) {
    const socket = await plain(stage);
    const answer = received(socket);
    socket.write(Buffer.from(text, 'latin1'));
    t.equal((await answer).length, 0, JSON.stringify(text.slice(0, 20)));
  }
  t.equal(await counted(stage, 'bad-client-hello'), notHellos.length);
  await stillServes(t, stage);
});

t.test('a hello that comes byte by byte is read, and one that stops is closed in time', async (t) => {
  const stage = await stageWith(t, { gateway: '  timeouts: { handshake: 1s }' });
  const slow = await plain(stage);
  slow.setNoDelay(true);
  const answer = received(slow);
  for (const byte of HELLO) {
    slow.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  // The captured hello asks for a name that this gateway does not have.
  t.same([...(await answer)], [0x15, 3, 3, 0, 2, 2, 0x70]);
  const stopped = await plain(stage);
  const silence = received(stopped);
  stopped.write(HELLO.subarray(0, 100));
  t.equal((await silence).length, 0);
  t.equal(await counted(stage, 'timeout'), 1);
});

t.test('a certificate that is missing, of another CA or for servers only is refused', async (t) => {
  const stage = await stageWith(t);
  const strangers = await createAuthority('strangers');
  const stranger = await strangers.issueClient({ commonName: 'worker' });
  await refused(t, stage.connect({ cert: '', key: '' }), 'a caller without a certificate is refused');
  await refused(
    t,
    stage.connect({ cert: stranger.certificatePem, key: stranger.privateKeyPem }),
    'a certificate of another CA is refused',
  );
  const servers = await stage.clients.issueServer({ dnsNames: ['worker'] });
  await refused(
    t,
    stage.connect({ cert: servers.certificatePem, key: servers.privateKeyPem }),
    'a certificate for servers only is refused',
  );
  t.equal(await counted(stage, 'certificate-required'), 1);
  t.equal(await counted(stage, 'certificate-denied'), 2);
  await refused(t, stage.connect({ maxVersion: 'TLSv1.2' }), 'a version below the minimum is refused');
  await stillServes(t, stage);
});

t.test('with optional certificates the route decides, but a bad certificate is always refused', async (t) => {
  const stage = await stageWith(t, { listener: '      clientCertificates: optional' });
  const none = await stage.connect({ cert: '', key: '' });
  t.match(await exchange(none, GET, isWhole), /^HTTP\/1\.1 200 /, 'an open route accepts anyone');
  none.destroy();
  const [line] = await stage.log(1);
  t.equal(line?.['tls.client.subject'], undefined);
  const strangers = await createAuthority('strangers');
  const stranger = await strangers.issueClient({ commonName: 'worker' });
  const bad = await stage.connect({ cert: stranger.certificatePem, key: stranger.privateKeyPem });
  t.match(
    await exchange(bad, GET, isWhole),
    /^HTTP\/1\.1 403 .*"code":"certificate-denied"/s,
    'a bad certificate is refused even on an open route',
  );
  bad.destroy();
});

t.test('the limits on connections hold, and a released place can be taken again', async (t) => {
  const stage = await stageWith(t, { gateway: '  limits: { connections: 10, connectionsPerAddress: 3 }' });
  const held = [await stage.connect(), await stage.connect(), await stage.connect()];
  const fourth = await plain(stage);
  t.equal((await received(fourth)).length, 0);
  t.equal(await counted(stage, 'over-limit'), 1);
  held[0]?.destroy();
  await sleep(50);
  await stillServes(t, stage);
  for (const socket of held) socket.destroy();
});

t.test('a probe of the port does not count as a handshake', async (t) => {
  const stage = await stageWith(t);
  const probe = await plain(stage);
  probe.end();
  await once(probe, 'close');
  await stillServes(t, stage);
  t.equal(await counted(stage, 'failed'), 0);
  t.equal(await counted(stage, 'accepted'), 1);
});
