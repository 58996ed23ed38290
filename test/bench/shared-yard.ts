/** Three gateway processes that share their limits through one Redis, and a node that counts what passes. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { HOST } from './names.ts';
import { serve } from './shipped.ts';
import { freePort, gatewayYaml, secure, stop, untilListening } from './yard.ts';

export const GATEWAYS = 3;
export const REQUESTS = 3000;
export const PLACES = 20;
export const BUDGET_MIB = 64;
const ANSWER_MS = 10;

/** What has reached the node. */
export interface Reached {
  requests: number;
  bytes: number;
  atOnce: number;
  mostAtOnce: number;
}

export interface SharedYard {
  readonly redis: ChildProcess;
  readonly admins: readonly string[];
  readonly reached: Reached;
  connect(gateway: number): Promise<TLSSocket>;
  close(): Promise<void>;
}

export interface StartedRedis {
  readonly child: ChildProcess;
  readonly url: string;
}

export async function startRedis(children: ChildProcess[]): Promise<StartedRedis> {
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const child = spawn('redis-server', options, { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  await untilListening(child, port);
  return { child, url: `redis://127.0.0.1:${port}` };
}

export async function openSharedYard(): Promise<SharedYard> {
  const root = await mkdtemp(join(tmpdir(), 'patchgate-shared-'));
  const children: ChildProcess[] = [];
  const reached: Reached = { requests: 0, bytes: 0, atOnce: 0, mostAtOnce: 0 };
  const node = createServer((request, response) => void take(request, response, reached));
  const close = async (): Promise<void> => {
    for (const child of children) await stop(child);
    node.closeAllConnections();
    node.close();
    await rm(root, { recursive: true, force: true });
  };
  try {
    await once(node.listen(0, '127.0.0.1'), 'listening');
    const redis = await startRedis(children);
    const authority = await createAuthority('servers');
    const pair = await authority.issueServer({ dnsNames: [HOST] });
    const { port: nodePort } = node.address() as AddressInfo;
    const ports: number[] = [];
    const admins: string[] = [];
    for (let gateway = 0; gateway < GATEWAYS; gateway++) {
      const [folder, port] = [join(root, String(gateway)), await freePort()];
      await writeFolder(folder, pair, port, nodePort, redis.url);
      admins.push((await serve(folder, children)).admin);
      ports.push(port);
    }
    const tls = { host: '127.0.0.1', servername: HOST, ca: authority.certificatePem };
    const connect = (gateway: number): Promise<TLSSocket> => secure({ ...tls, port: ports[gateway] ?? 0 });
    return { redis: redis.child, admins, reached, connect, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Counts a request and answers it; on `/places` with a delay, so that requests overlap. */
async function take(request: IncomingMessage, response: ServerResponse, reached: Reached): Promise<void> {
  reached.requests += 1;
  reached.atOnce += 1;
  reached.mostAtOnce = Math.max(reached.mostAtOnce, reached.atOnce);
  request.on('data', (piece: Buffer) => {
    reached.bytes += piece.length;
  });
  await Promise.race([once(request, 'end'), once(request, 'close')]).catch(() => undefined);
  if (request.url === '/places') await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  reached.atOnce -= 1;
  response.end('ok');
}

async function writeFolder(
  folder: string,
  pair: IssuedPair,
  port: number,
  nodePort: number,
  redis: string,
): Promise<void> {
  const certificates = join(folder, 'certs', HOST);
  const tenants = join(folder, 'policies', 'tenants');
  await mkdir(certificates, { recursive: true });
  await mkdir(tenants, { recursive: true });
  await writeFile(join(certificates, 'chain.pem'), pair.certificatePem);
  await writeFile(join(certificates, 'key.pem'), pair.privateKeyPem);
  const state = `  state: { redis: '${redis}', onFailure: deny }\n`;
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gatewayYaml(port) + state);
  const routes = {
    requests: `requests: ${REQUESTS}/d`,
    places: `concurrent: ${PLACES}`,
    bytes: `bytes: ${BUDGET_MIB}MiB/d`,
    wide: 'requests: 1000000/s, concurrent: 1000000',
  };
  const lines = Object.entries(routes).map(
    ([name, limits]) =>
      `  - { name: ${name}, match: { methods: [GET, PUT], path: /${name} }, require: none, limits: { ${limits}, per: address }, upstream: sync }`,
  );
  await writeFile(
    join(tenants, 'bench.yaml'),
    `tenant: bench
serverNames: [${HOST}]
clientCertificates: none
upstreams: { sync: { nodes: ['http://127.0.0.1:${nodePort}'], connections: { max: 512 }, breaker: { maxConcurrent: 512 } } }
routes:
${lines.join('\n')}
`,
  );
}
