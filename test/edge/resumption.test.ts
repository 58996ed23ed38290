/**
 * A session belongs to the server name and all the settings it was made under. Offered under another name or after a
 * change it is not resumed, and the caller meets the full handshake with its demands.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { serverIdentitySource } from '../../gateway/certificates/server-identity.ts';
import { createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { TlsContext } from '../../gateway/edge/tls-context.ts';
import { startGateway } from '../../gateway/gateway.ts';
import { createLog } from '../../gateway/observe/log.ts';
import { HOST, rawNode, type Stage, setStage, tenantYaml, writeCertificates } from '../path/stage.ts';
import {
  type SessionVersion,
  sessionVisitors,
  type Visited,
  type Visitor,
  wasKept,
} from './session-visitors.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const OTHER = 'b.test';

/** Tenant a at `a.test` and tenant b at `b.test`, each with its own client CA, and one caller. */
class Setting {
  readonly stage: Stage;
  readonly workerB: IssuedPair;
  readonly #t: Test;
  readonly #visitor: Visitor;
  readonly #version: SessionVersion;
  readonly #folder: string;
  #port: number;

  private constructor(t: Test, visitor: Visitor, version: SessionVersion, stage: Stage, workerB: IssuedPair) {
    this.#t = t;
    this.#visitor = visitor;
    this.#version = version;
    this.#folder = t.testdir({});
    this.#port = stage.port;
    this.stage = stage;
    this.workerB = workerB;
  }

  static async create(t: Test, visitor: Visitor, version: SessionVersion): Promise<Setting> {
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
    const workerB = await clients.issueClient({ commonName: 'worker b' });
    return new Setting(t, visitor, version, stage, workerB);
  }

  /** Makes a full handshake under tenant a and keeps its session under a name. */
  async begin(session: string): Promise<void> {
    const { worker } = this.stage;
    const visited = await this.#visit({ name: HOST, worker, keep: session });
    this.#t.same(
      visited,
      { resumed: false, answer: '200' },
      `the session ${session} begins with a full handshake`,
    );
  }

  /** One row of the matrix. */
  async row(
    title: string,
    offer: string,
    name: string,
    worker: IssuedPair | undefined,
    expected: 'resumed 200' | 'full 200' | 'refused',
    keep?: string,
  ): Promise<void> {
    const more = { ...(worker !== undefined && { worker }), ...(keep !== undefined && { keep }) };
    const { resumed, answer } = await this.#visit({ name, offer, ...more });
    const found = answer === '' ? 'refused' : `${resumed ? 'resumed' : 'full'} ${answer}`;
    this.#t.comment(`${this.#version}  ${this.#visitor.client.padEnd(8)} ${title.padEnd(52)} ${found}`);
    this.#t.equal(found, expected, `the row "${title}" gives ${expected}`);
    if (answer === '') this.#t.notOk(resumed, `the row "${title}" is refused by the full handshake`);
  }

  /** Writes a file into the folder of tenant a and waits until it is read. */
  async change(file: string, text: string): Promise<void> {
    await writeFile(join(this.stage.folder, 'certs', HOST, file), text);
    this.#t.same((await this.stage.gateway.reload()).faults, []);
  }

  /** Replaces the process by another one: nothing is kept but the files. */
  async restart(): Promise<void> {
    this.stage.gateway.stopNow();
    const { gateway } = await startGateway({
      policyFolder: join(this.stage.folder, 'policies'),
      version: 'test',
      log: createLog('silent'),
    });
    this.#t.teardown(() => gateway?.stopNow());
    this.#port = gateway?.addresses.get('edge')?.port ?? 0;
  }

  #visit(visit: {
    readonly name: string;
    readonly worker?: IssuedPair;
    readonly offer?: string;
    readonly keep?: string;
  }): Promise<Visited> {
    const at = (file: string): string => join(this.#folder, file);
    const files = {
      ...(visit.offer !== undefined && { offer: at(visit.offer) }),
      ...(visit.keep !== undefined && { keep: at(visit.keep) }),
    };
    const common = { port: this.#port, version: this.#version };
    return this.#visitor.visit({ ...common, ...visit, ...files }, this.#folder);
  }
}

for (const visitor of sessionVisitors()) {
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    t.test(`a session is resumed only where it began: ${visitor.client}, ${version}`, async (t) => {
      const setting = await Setting.create(t, visitor, version);
      const { stage, workerB } = setting;
      const { worker, clients } = stage;
      await setting.begin('a');
      await setting.row('same name, same certificate', 'a', HOST, worker, 'resumed 200');
      await setting.row('same name, none: that of the session', 'a', HOST, undefined, 'resumed 200');
      await setting.row('other name, certificate of the first', 'a', OTHER, worker, 'refused');
      await setting.row('other name, no certificate', 'a', OTHER, undefined, 'refused');
      await setting.row('other name, certificate of its own', 'a', OTHER, workerB, 'full 200', 'b');
      await setting.row('and back, certificate of the other', 'b', HOST, workerB, 'refused');
      const lines = await stage.log(4);
      t.same(
        lines.map((line) => [line['tenant'], line['tls.resumed'], line['tls.client.subject']]),
        [
          ['tenant-a', false, 'CN=worker'],
          ['tenant-a', true, 'CN=worker'],
          ['tenant-a', true, 'CN=worker'],
          ['tenant-b', false, 'CN=worker b'],
        ],
        'a resumed session has the certificate it began with',
      );

      const servers = await createAuthority('renewed servers');
      const renewed = await servers.issueServer({ dnsNames: [HOST] });
      const folder = join(stage.folder, 'certs', HOST);
      await writeFile(join(folder, 'key.pem'), renewed.privateKeyPem);
      await setting.change('chain.pem', renewed.certificatePem);
      await setting.row('server chain renewed since', 'a', HOST, worker, 'full 200', 'c');
      await setting.row('and nothing since then', 'c', HOST, worker, 'resumed 200');
      const added = await createAuthority('added clients');
      await setting.change('clients.pem', clients.certificatePem + added.certificatePem);
      await setting.row('client CA added since', 'c', HOST, worker, 'full 200', 'd');
      await setting.restart();
      await setting.row('after a restart', 'd', HOST, worker, 'full 200', 'e');
      await setting.row('after a restart, no certificate', 'd', HOST, undefined, 'refused');
    });

    t.test(`a session ends with the trust in its client: ${visitor.client}, ${version}`, async (t) => {
      const setting = await Setting.create(t, visitor, version);
      const { stage } = setting;
      const { worker, clients } = stage;
      await setting.begin('a');
      await setting.change('clients.crl', await clients.revocationList([worker]));
      await setting.row('revoked since, with the certificate', 'a', HOST, worker, 'refused');
      await setting.row('revoked since, no certificate', 'a', HOST, undefined, 'refused');
      await setting.change('clients.crl', await clients.revocationList([]));
      await setting.begin('b');
      const others = await createAuthority('new clients');
      const list = join(stage.folder, 'certs', HOST, 'clients.crl');
      await writeFile(list, await others.revocationList([]));
      await setting.change('clients.pem', others.certificatePem);
      await setting.row('client CA replaced since, with the certificate', 'b', HOST, worker, 'refused');
      await setting.row('client CA replaced since, no certificate', 'b', HOST, undefined, 'refused');
    });

    t.test(`sessionResumption: off gives out no session: ${visitor.client}, ${version}`, async (t) => {
      const node = await rawNode(t, (socket) => socket.write(OK));
      const listener = `      minTlsVersion: ${version}\n      sessionResumption: off`;
      const { port, worker } = await setStage(t, { nodes: [node.address], listener });
      const folder = t.testdir({});
      const keep = join(folder, 'kept');
      const visit = { port, version, name: HOST, worker };
      t.match(await visitor.visit({ ...visit, keep }, folder), { answer: '200' });
      if (!(await wasKept(keep))) return;
      t.match(await visitor.visit({ ...visit, offer: keep }, folder), { answer: '200', resumed: false });
    });
  }
}

t.test("processes that share the ticket secret resume each other's sessions", async (t) => {
  const authority = await createAuthority('servers');
  const certificates = t.testdir({ [HOST]: {} });
  const server = await authority.issueServer({ dnsNames: [HOST] });
  await writeCertificates(join(certificates, HOST), server, authority.certificatePem);
  const identity = await serverIdentitySource(certificates, HOST, true).read(Date.now());
  if (!('digest' in identity)) throw new Error('the folder has faults');
  const rules = {
    tenant: 'tenant-a',
    clientCertificates: 'none',
    minTlsVersion: 'TLSv1.3',
    sessionResumption: 'bound',
    handshakeMs: 1000,
  } as const;
  const secret = randomBytes(32);
  const portOf = async (context: TlsContext): Promise<number> => {
    const listener = createServer((socket) => {
      socket.on('error', () => undefined);
      context.begin(socket, { onSecure: (secure) => secure.end('x'), onHandshakeFailed: () => undefined });
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    t.teardown(() => listener.close());
    return (listener.address() as AddressInfo).port;
  };
  const visit = async (port: number, session?: Buffer) => {
    const options = { port, host: '127.0.0.1', servername: HOST, ca: authority.certificatePem };
    const socket = connect({ ...options, ...(session !== undefined && { session }) });
    let made: Buffer | undefined;
    socket.on('session', (given: Buffer) => {
      made = given;
    });
    socket.resume();
    await once(socket, 'secureConnect');
    const resumed = socket.isSessionReused();
    await once(socket, 'close');
    return { made, resumed };
  };
  const first = await portOf(new TlsContext(identity, rules, secret));
  const second = await portOf(new TlsContext(identity, rules, secret));
  const stranger = await portOf(new TlsContext(identity, rules, randomBytes(32)));
  const { made, resumed } = await visit(first);
  t.equal(resumed, false);
  t.equal((await visit(second, made)).resumed, true);
  t.equal((await visit(stranger, made)).resumed, false);
});
