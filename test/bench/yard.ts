/** What a bench runs on: certificates, token, address list, the node, and the gateway process. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { MIB } from '../../gateway/core/units.ts';
import { type Authority, createAuthority, type IssuedPair } from '../../gateway/demo/pki.ts';
import { createTokenIssuer, type TokenIssuer } from '../../gateway/demo/token.ts';
import { AUDIENCE, HOST, ISSUER } from './names.ts';
import { serve } from './shipped.ts';

/** One proxy under measurement. */
export interface Side {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
}

export interface Yard {
  readonly patchgate: Side;
  /** URL of the gateway's admin listener. */
  readonly admin: string;
  /** Folder of all files, also those of the rivals. */
  readonly folder: string;
  readonly nodePort: number;
  /** Started processes, which `close` stops. */
  readonly children: ChildProcess[];
  readonly token: string;
  /** Signed by an untrusted key. */
  readonly badToken: string;
  /** Folder of the server name's certificates. */
  readonly certificates: string;
  /** File of the prefixes that patchgate and HAProxy read. */
  readonly addressList: string;
  /** The authority of the server's certificate. */
  readonly servers: Authority;
  /** Certificate and key of a caller, and the authority it trusts. */
  readonly tls: ConnectionOptions;
  /** Opens a connection, which resumes `session` if possible. */
  connect(side: Side, session?: Buffer): Promise<TLSSocket>;
  /** Starts a connection without a certificate and does not wait for the handshake. */
  stranger(side: Side): TLSSocket;
  close(): Promise<void>;
}

const PREFIXES = 100_000;

/** `workers`: number of worker processes of the gateway; `settings`: further lines of gateway.yaml. */
export async function openYard(workers = 1, settings = ''): Promise<Yard> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-bench-'));
  const children: ChildProcess[] = [];
  const close = async (): Promise<void> => {
    for (const child of children.toReversed()) await stop(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const servers = await createAuthority('servers');
    const clients = await createAuthority('clients');
    const worker = await clients.issueClient({ commonName: 'worker' });
    const server = await servers.issueServer({ dnsNames: [HOST] });
    const tokens = await createTokenIssuer();
    const nodePort = await startSink(children);
    await writeLists(folder);
    await writeCertificates(folder, server, clients.certificatePem, tokens);
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'worker', scope: 'read finetune', model_id: 'bench' };
    const tls = { servername: HOST, ca: servers.certificatePem, ...keyPair(worker) };
    return {
      ...(await startPatchgate(folder, tokens, nodePort, children, { workers, settings })),
      folder,
      nodePort,
      children,
      token: await tokens.sign(claims),
      certificates: join(folder, 'certs', HOST),
      addressList: join(folder, 'clients.cidr'),
      servers,
      tls,
      badToken: await (await createTokenIssuer()).sign(claims),
      connect: (side, session) =>
        secure({ ...tls, host: '127.0.0.1', port: side.port, ...(session && { session }) }),
      stranger: ({ port }) =>
        connect({ servername: HOST, ca: servers.certificatePem, host: '127.0.0.1', port }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function keyPair({ certificatePem, privateKeyPem }: IssuedPair): { cert: string; key: string } {
  return { cert: certificatePem, key: privateKeyPem };
}

/** Writes the prefixes that patchgate and HAProxy read, one per line; the callers' prefix is the last. */
async function writeLists(folder: string): Promise<void> {
  const prefixes = Array.from({ length: PREFIXES - 1 }, (_, index) => {
    const high = 11 + (index >> 14);
    return `${high}.${(index >> 6) & 255}.${(index & 63) * 4}.0/24`;
  });
  await writeFile(join(folder, 'clients.cidr'), `${[...prefixes, '127.0.0.0/8'].join('\n')}\n`);
}

async function writeCertificates(
  folder: string,
  server: IssuedPair,
  clientsPem: string,
  tokens: TokenIssuer,
): Promise<void> {
  const certificates = join(folder, 'certs', HOST);
  await mkdir(certificates, { recursive: true });
  await writeFile(join(certificates, 'chain.pem'), server.certificatePem);
  await writeFile(join(certificates, 'key.pem'), server.privateKeyPem);
  await writeFile(join(certificates, 'clients.pem'), clientsPem);
  await writeFile(join(folder, 'both.pem'), server.certificatePem + server.privateKeyPem);
  const [key] = tokens.jwks.keys;
  const publicKey = createPublicKey({ key: key as JsonWebKey, format: 'jwk' });
  await writeFile(join(folder, 'token.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
}

async function startPatchgate(
  folder: string,
  tokens: TokenIssuer,
  nodePort: number,
  children: ChildProcess[],
  { workers, settings }: { readonly workers: number; readonly settings: string },
): Promise<Pick<Yard, 'patchgate' | 'admin'>> {
  const port = await freePort();
  const tenants = join(folder, 'policies', 'tenants');
  await mkdir(tenants, { recursive: true });
  await writeFile(join(tenants, 'keys.json'), JSON.stringify(tokens.jwks));
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gatewayYaml(port, workers) + settings);
  await writeFile(join(tenants, 'bench.yaml'), tenantYaml(nodePort));
  const { pid, admin } = await serve(folder, children);
  return { patchgate: { name: 'patchgate', pid, port }, admin };
}

export function gatewayYaml(port: number, workers = 1): string {
  return `gateway:
  listeners: [{ name: edge, address: '127.0.0.1:${port}' }]
  admin: { address: 127.0.0.1:0 }
  workers: ${workers}
  accessLog: { file: ../access.log }
`;
}

function tenantYaml(nodePort: number): string {
  return `tenant: bench
serverNames: [${HOST}]
addresses: { clients: { file: ../../clients.cidr } }
allow: [clients]
issuers:
  main:
    issuer: ${ISSUER}
    audience: ${AUDIENCE}
    keys: { file: keys.json }
    algorithms: [ES256]
upstreams: { sync: { nodes: ['http://127.0.0.1:${nodePort}'] } }
routes:
  - name: checked
    match: { methods: [PUT], path: '/checked/{model_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, check: header }
    upstream: sync
  - name: deep
    match: { methods: [PUT], path: '/deep/{model_id}' }
    require: { scope: finetune, claims: { model_id: '{model_id}' } }
    stream: { format: weight-patch, check: deep }
    upstream: sync
  - name: any
    match: { methods: [GET, PUT], path: '/**' }
    require: { scope: read }
    upstream: sync
`;
}

export async function startSink(children: ChildProcess[]): Promise<number> {
  const child = spawn(process.execPath, [new URL('sink.ts', import.meta.url).pathname], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return Number(line.toString());
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Resolves once the port accepts connections; rejects with the error output of the process if it does not. */
export async function untilListening(child: ChildProcess, port: number): Promise<void> {
  let said = '';
  child.stderr?.on('data', (piece: Buffer) => {
    said += piece.toString();
  });
  for (let tries = 0; tries < 100; tries++) {
    const reached = await new Promise<boolean>((resolve) => {
      const socket = dial(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (reached) return;
    if (child.exitCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on ${port}:\n${said}`);
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

export function secure(options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...options, highWaterMark: MIB } as ConnectionOptions, () => resolve(socket));
    socket.setNoDelay(true);
    socket.on('error', reject);
  });
}
