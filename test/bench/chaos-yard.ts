/** A gateway with lists in etcd and Redis and limits in Redis, and both servers, which can be killed and paused. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { HOST } from './names.ts';
import { serve } from './shipped.ts';
import { freePort, gatewayYaml, type Side, secure, startSink, stop, untilListening } from './yard.ts';

export const ETCD_LIST = '/bench/fleet/';
export const REDIS_LIST = 'bench:fleet';

export interface ChaosYard {
  readonly patchgate: Side;
  readonly admin: string;
  readonly etcd: Server;
  readonly redis: Server;
  /** Connects to the gateway from a local address. */
  connect(from: string): Promise<TLSSocket>;
  close(): Promise<void>;
}

/** A server process that keeps its data on disk, so that it can be killed and started again. */
export class Server {
  readonly port: number;
  readonly #command: readonly [string, ...string[]];
  #child: ChildProcess | undefined;

  static async start(port: number, command: readonly [string, ...string[]]): Promise<Server> {
    const server = new Server(port, command);
    await server.start();
    return server;
  }

  private constructor(port: number, command: readonly [string, ...string[]]) {
    this.port = port;
    this.#command = command;
  }

  async start(): Promise<void> {
    const [program, ...words] = this.#command;
    this.#child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    await untilListening(this.#child, this.port);
  }

  async kill(): Promise<void> {
    if (this.#child !== undefined) await stop(this.#child);
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }
}

function startRedis(folder: string, port: number): Promise<Server> {
  const address = ['--port', String(port), '--bind', '127.0.0.1'];
  const disk = ['--dir', folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'always'];
  return Server.start(port, ['redis-server', ...address, ...disk, '--notify-keyspace-events', 'KA']);
}

async function startEtcd(folder: string, port: number): Promise<Server> {
  const [url, peerUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${await freePort()}`];
  const disk = ['--data-dir', join(folder, 'etcd'), '--logger', 'zap', '--log-level', 'error'];
  const clients = ['--listen-client-urls', url, '--advertise-client-urls', url];
  const peers = ['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl];
  return Server.start(port, [
    'etcd',
    ...disk,
    ...clients,
    ...peers,
    '--initial-cluster',
    `default=${peerUrl}`,
  ]);
}

/** `fill` is called before the gateway starts. */
export async function openChaosYard(
  workers: number,
  fill: (yard: Pick<ChaosYard, 'etcd' | 'redis'>) => Promise<void>,
): Promise<ChaosYard> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-chaos-'));
  const children: ChildProcess[] = [];
  const servers: Server[] = [];
  const close = async (): Promise<void> => {
    for (const child of children.toReversed()) await stop(child);
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const redis = await startRedis(folder, await freePort());
    servers.push(redis);
    const etcd = await startEtcd(folder, await freePort());
    servers.push(etcd);
    await fill({ etcd, redis });
    const authority = await createAuthority('servers');
    const port = await freePort();
    const state = `  state: { redis: 'redis://127.0.0.1:${redis.port}', onFailure: local }\n  etcd: { endpoints: ['http://127.0.0.1:${etcd.port}'] }\n`;
    await writePolicy(folder, gatewayYaml(port, workers) + state, await startSink(children));
    await writePair(folder, authority);
    const { pid, admin } = await serve(folder, children);
    const tls = { host: '127.0.0.1', port, servername: HOST, ca: authority.certificatePem };
    return {
      patchgate: { name: 'patchgate', pid, port },
      admin,
      etcd,
      redis,
      connect: (localAddress) => {
        const options = { ...tls, localAddress };
        return secure(options);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function writePair(
  folder: string,
  authority: Awaited<ReturnType<typeof createAuthority>>,
): Promise<void> {
  const certificates = join(folder, 'certs', HOST);
  await mkdir(certificates, { recursive: true });
  const pair = await authority.issueServer({ dnsNames: [HOST] });
  await writeFile(join(certificates, 'chain.pem'), pair.certificatePem);
  await writeFile(join(certificates, 'key.pem'), pair.privateKeyPem);
}

/** Writes a policy whose limits need Redis for each request and are never reached. */
async function writePolicy(folder: string, gateway: string, nodePort: number): Promise<void> {
  const tenants = join(folder, 'policies', 'tenants');
  await mkdir(tenants, { recursive: true });
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gateway);
  await writeFile(
    join(tenants, 'bench.yaml'),
    `tenant: bench
serverNames: [${HOST}]
clientCertificates: none
addresses: { in-etcd: { etcd: ${ETCD_LIST.slice(0, -1)} }, in-redis: { redis: '${REDIS_LIST}' } }
allow: [in-etcd, in-redis]
upstreams: { sync: { nodes: ['http://127.0.0.1:${nodePort}'] } }
routes:
  - name: any
    match: { methods: [GET], path: '/**' }
    require: none
    limits: { requests: 1000000/s, concurrent: 100000, bytes: 1000GiB/d, per: address }
    upstream: sync
`,
  );
}
