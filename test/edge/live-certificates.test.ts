/** Certificates change under a running gateway: the next handshake uses them, open connections and other names do not. */
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, connect as dial, type Server } from 'node:net';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
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

async function stageWith(t: Test, options: Partial<StageOptions> = {}): Promise<Stage> {
  const node = await rawNode(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  return setStage(t, { nodes: [node.address], ...options });
}

/** Whether a request of the worker is answered; a refused handshake closes without an answer. */
async function served(stage: Stage): Promise<boolean> {
  const socket = await stage.connect().catch(() => undefined);
  if (socket === undefined) return false;
  const answer = await exchange(socket, GET, isWhole);
  socket.destroy();
  return answer.startsWith('HTTP/1.1 200 ');
}

async function until(isSo: () => Promise<boolean>): Promise<boolean> {
  for (let waits = 0; waits < 200; waits += 1) {
    if (await isSo()) return true;
    await sleep(20);
  }
  return false;
}

t.test('a new chain serves the next handshake, and the old connection goes on', async (t) => {
  const stage = await stageWith(t);
  const open = await stage.connect();
  t.match(await exchange(open, GET, isWhole), /^HTTP\/1\.1 200 /);
  const renewed = await createAuthority('renewed');
  const server = await renewed.issueServer({ dnsNames: [HOST] });
  await writeFile(join(stage.folder, 'certs', HOST, 'key.pem'), server.privateKeyPem);
  await writeFile(join(stage.folder, 'certs', HOST, 'chain.pem'), server.certificatePem);
  const ca = renewed.certificatePem;
  t.ok(
    await until(async () => {
      const socket = await stage.connect({ ca }).catch(() => undefined);
      socket?.destroy();
      return socket !== undefined;
    }),
  );
  t.match(await exchange(open, GET, isWhole), /^HTTP\/1\.1 200 /);
  open.destroy();
});

t.test('a certificate on a new revocation list is refused, resumed or not', async (t) => {
  const stage = await stageWith(t);
  t.ok(await served(stage));
  const list = await stage.clients.revocationList([stage.worker]);
  await writeFile(join(stage.folder, 'certs', HOST, 'clients.crl'), list);
  t.ok(await until(async () => !(await served(stage))));
  const empty = await stage.clients.revocationList([]);
  await writeFile(join(stage.folder, 'certs', HOST, 'clients.crl'), empty);
  t.ok(await until(() => served(stage)));
  const due = /patchgate_crl_next_update_timestamp_seconds\{server_name="a\.test"\} (\d+)/;
  const [, seconds] = due.exec(await (await fetch(`${stage.admin}/metrics`)).text()) ?? [];
  t.ok(Number(seconds) > Date.now() / 1000);
});

/** A handshake with the gateway in which the second flight of the caller is held back until `goOn`. */
interface HeldHandshake {
  readonly socket: TLSSocket;
  goOn(): void;
}

async function holdHandshake(t: Test, stage: Stage): Promise<HeldHandshake> {
  const held = Promise.withResolvers<void>();
  const going = Promise.withResolvers<void>();
  const line: Server = createServer((caller) => {
    const gateway = dial(stage.port, '127.0.0.1');
    caller.on('error', () => undefined).on('close', () => gateway.destroy());
    gateway.on('error', () => undefined).on('close', () => caller.destroy());
    gateway.pipe(caller);
    caller.once('data', (hello) => {
      gateway.write(hello);
      caller.on('data', (flight) => {
        held.resolve();
        void going.promise.then(() => gateway.write(flight));
      });
    });
  });
  await once(line.listen(0, '127.0.0.1'), 'listening');
  const socket = connect({
    host: '127.0.0.1',
    port: (line.address() as AddressInfo).port,
    servername: HOST,
    ca: stage.ca,
    cert: stage.worker.certificatePem,
    key: stage.worker.privateKeyPem,
  });
  socket.on('error', () => undefined);
  t.teardown(() => {
    socket.destroy();
    line.close();
  });
  await held.promise;
  return { socket, goOn: going.resolve };
}

t.test('a certificate that is revoked during its handshake is refused', async (t) => {
  const stage = await stageWith(t);
  const { socket, goOn } = await holdHandshake(t, stage);
  const list = await stage.clients.revocationList([stage.worker]);
  await writeFile(join(stage.folder, 'certs', HOST, 'clients.crl'), list);
  t.ok(await until(async () => !(await served(stage))));
  goOn();
  t.notMatch(await exchange(socket, GET, isWhole), /^HTTP\/1\.1 200 /);
});

t.test('a faulty folder is reported and changes nothing', async (t) => {
  const stage = await stageWith(t);
  t.ok(await served(stage));
  await writeFile(join(stage.folder, 'certs', HOST, 'clients.pem'), 'nothing');
  const faults = async (): Promise<string> => (await fetch(`${stage.admin}/policy`)).text();
  t.ok(await until(async () => (await faults()).includes('clients.pem:1:1: contains something other')));
  t.ok(await served(stage));
});

t.test('a certificate revoked by its serial number is refused on its open connection too', async (t) => {
  const stage = await stageWith(t);
  const open = await stage.connect();
  t.match(await exchange(open, GET, isWhole), /^HTTP\/1\.1 200 /);
  const file = join(stage.folder, 'policies', 'tenants', 'tenant-a.yaml');
  const entry = `revocation: { certificates: { entries: ['serial:${stage.worker.serialNumber}'] } }\n`;
  await writeFile(file, `${entry}${await readFile(file, 'utf8')}`);
  t.same((await stage.gateway.reload()).faults, []);
  t.match(await exchange(open, GET, isWhole), /^HTTP\/1\.1 403 .*"code":"certificate-denied"/s);
  t.notOk(await served(stage));
  open.destroy();
});

t.test(
  'a connection over the cap on handshakes is closed and counted, and a slot is free again afterwards',
  async (t) => {
    const stage = await stageWith(t, { gateway: '  limits: { handshakes: 1 }' });
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => served(stage)));
    t.ok(outcomes.includes(true));
    t.ok(outcomes.includes(false));
    t.match(await (await fetch(`${stage.admin}/metrics`)).text(), /outcome="over-limit"\} [1-5]\n/);
    t.ok(await served(stage));
  },
);
