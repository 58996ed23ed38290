/** A real gateway on loopback for one test: policy folder, certificates, tokens, and callers that speak raw TLS. */

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { formatFault } from '../../gateway/core/fault.ts';
import { type Authority, createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { createTokenIssuer, type TokenIssuer } from '../../gateway/demo/token.ts';
import { type Gateway, startGateway } from '../../gateway/gateway.ts';
import { createLog } from '../../gateway/observe/log.ts';
import type { Lookup } from '../../gateway/relay/node-resolver.ts';

export const HOST = 'a.test';

export interface StageOptions {
  /** Further keys under `gateway:`, as YAML with an indent of two. */
  readonly gateway?: string;
  /** Keys of the listener beside name and address, with an indent of four below a dash. */
  readonly listener?: string;
  /** Replaces `addresses` and `allow` of the tenant. */
  readonly addresses?: string;
  /** Replaces the routes; with an indent of four. */
  readonly routes?: string;
  /** Replaces the keys of the upstream beside its nodes. */
  readonly upstream?: string;
  /** If off, callers are read by 'data' events, as on a Node without reads in place. */
  readonly readsInPlace?: boolean;
  /** Finds the addresses of node names. */
  readonly lookup?: Lookup;
  /** Node addresses, `host:port`, or with `https://` before it. */
  readonly nodes: readonly string[];
}

export interface Stage {
  readonly gateway: Gateway;
  readonly port: number;
  readonly admin: string;
  readonly folder: string;
  readonly clients: Authority;
  readonly worker: IssuedPair;
  readonly ca: string;
  readonly tokens: TokenIssuer;
  /** A token that may read and fine-tune everything; `claims` override the usual ones. */
  token(claims?: Readonly<Record<string, unknown>>): Promise<string>;
  /** A TLS connection of the worker. */
  connect(options?: ConnectionOptions): Promise<TLSSocket>;
  /** The lines of the access log, once there are that many. */
  log(lines: number): Promise<readonly Record<string, unknown>[]>;
}

/** The two ways of reading callers; streams are tested with both. */
export const readPaths = [
  { how: 'read in place', readsInPlace: true },
  { how: "by 'data' events", readsInPlace: false },
] as const;

const ROUTES = `  - name: push
    match: { methods: [PUT], path: '/v1/models/{model_id}/patches/{stream_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, maxBytes: 1MiB, check: deep }
    upstream: sync
  - name: open
    match: { methods: [GET, HEAD, PUT, POST, DELETE], path: '/open/**' }
    require: none
    upstream: sync
  - name: weights
    match: { methods: [GET, HEAD], path: '/v1/models/{model_id}/**' }
    require: { scope: read }
    upstream: sync
`;

/** Starts everything and stops it with the test. */
export async function setStage(t: Test, options: StageOptions): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const servers = await createAuthority('servers');
  const clients = await createAuthority('clients');
  const worker = await clients.issueClient({ commonName: 'worker', uris: ['spiffe://a.test/worker'] });
  const tokens = await createTokenIssuer();
  const server = await servers.issueServer({ dnsNames: [HOST] });
  await writeCertificates(join(folder, 'certs', HOST), server, clients.certificatePem);
  await writePolicy(folder, options, tokens);
  const outcome = await startGateway({
    policyFolder: join(folder, 'policies'),
    version: 'test',
    log: createLog('silent'),
    ...(options.readsInPlace !== undefined && { readsInPlace: options.readsInPlace }),
    ...(options.lookup !== undefined && { lookup: options.lookup }),
  });
  const { gateway } = outcome;
  if (gateway === undefined) throw new Error(outcome.faults.map(formatFault).join('\n'));
  t.teardown(() => gateway.stopNow());
  const port = gateway.addresses.get('edge')?.port ?? 0;
  const ca = servers.certificatePem;
  return {
    gateway,
    port,
    admin: `http://127.0.0.1:${gateway.adminAddress?.port}`,
    folder,
    clients,
    worker,
    ca,
    tokens,
    token: (claims = {}) =>
      tokens.sign({
        iss: 'https://auth.test',
        aud: 'weights',
        sub: 'worker-1',
        scope: 'read finetune',
        model_id: 'vision',
        ...claims,
      }),
    connect: (more = {}) =>
      secure({
        port,
        host: '127.0.0.1',
        servername: HOST,
        ca,
        cert: worker.certificatePem,
        key: worker.privateKeyPem,
        ...more,
      }),
    log: (lines) => readLog(join(folder, 'access.log'), lines),
  };
}

export async function writeCertificates(
  folder: string,
  server: IssuedPair,
  clientsPem: string,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'chain.pem'), server.certificatePem);
  await writeFile(join(folder, 'key.pem'), server.privateKeyPem);
  await writeFile(join(folder, 'clients.pem'), clientsPem);
}

async function writePolicy(folder: string, options: StageOptions, tokens: TokenIssuer): Promise<void> {
  const tenants = join(folder, 'policies', 'tenants');
  await mkdir(tenants, { recursive: true });
  await writeFile(join(tenants, 'keys.json'), JSON.stringify(tokens.jwks));
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gatewayYaml(options));
  await writeFile(join(tenants, 'tenant-a.yaml'), tenantYaml(options));
}

export function gatewayYaml({ gateway = '', listener = '' }: Omit<StageOptions, 'nodes'>): string {
  return `gateway:
  listeners:
    - name: edge
      address: 127.0.0.1:0
${listener}
  admin: { address: 127.0.0.1:0 }
${gateway.includes('workers:') ? '' : '  workers: 1'}
${gateway.includes('accessLog:') ? '' : '  accessLog: { file: ../access.log }'}
${gateway}
`;
}

export function tenantYaml({ addresses, routes, upstream = '', nodes }: StageOptions): string {
  return `tenant: tenant-a
serverNames: [${HOST}]
${addresses ?? 'addresses: { local: { cidrs: [127.0.0.0/8, 203.0.113.0/24] } }\nallow: [local]'}
issuers:
  main:
    issuer: https://auth.test
    audience: weights
    keys: { file: keys.json }
    algorithms: [ES256]
upstreams:
  sync:
    nodes: [${nodes.map((node) => `'${node.includes('://') ? node : `http://${node}`}'`).join(', ')}]
${upstream}
routes:
${routes ?? ROUTES}`;
}

export function secure(options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => resolve(socket));
    socket.on('error', reject);
  });
}

/** The lines of an access log, once there are that many. */
export async function readLog(file: string, lines: number): Promise<readonly Record<string, unknown>[]> {
  for (let turns = 0; ; turns += 1) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const entries = text.split('\n').filter((line) => line !== '');
    if (entries.length >= lines || turns > 200) return entries.map((line) => JSON.parse(line));
    await sleep(20);
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A node that does with each connection what the test says. */
export interface RawNode {
  readonly address: string;
  readonly server: Server;
  /** Everything received, one text per connection. */
  readonly received: readonly string[];
}

/** Calls `onText` at each piece with everything a connection has sent so far. */
export async function rawNode(t: Test, onText: (socket: Socket, text: string) => void): Promise<RawNode> {
  const received: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const index = received.push('') - 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      received[index] += chunk.toString('latin1');
      onText(socket, received[index] ?? '');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server, received };
}

/** Sends text and returns everything received until the other side closes or `until` is satisfied. */
export function exchange(
  socket: TLSSocket,
  text: string | Buffer,
  until?: (text: string) => boolean,
): Promise<string> {
  // A connection may also break after the answer.
  if (!socket.listeners('error').includes(unheard)) socket.on('error', unheard);
  return new Promise((resolve) => {
    let answer = '';
    const done = (): void => {
      socket.off('close', done).off('error', done);
      resolve(answer);
    };
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1');
      if (until?.(answer)) {
        socket.removeAllListeners('data');
        done();
      }
    });
    socket.on('close', done).on('error', done);
    socket.write(text);
  });
}

const unheard = (): void => undefined;

/** Whether the response is complete by its declared length. */
export function isWhole(text: string): boolean {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
  return rest.join('\r\n\r\n').length >= length;
}
