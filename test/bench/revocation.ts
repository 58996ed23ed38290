/** The token of a 1 GiB upload is revoked halfway: what the caller and the node see. */

import type { ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { createTokenIssuer } from '../../gateway/demo/token.ts';
import { Caller } from './load.ts';
import { AUDIENCE, HOST, ISSUER } from './names.ts';
import { serve } from './shipped.ts';
import { freePort, gatewayYaml, secure, stop } from './yard.ts';

const BYTES = 2 ** 30;
const PIECE = Buffer.alloc(256 * 1024, 'w');

export interface RevocationResult {
  /** The answer to the caller. */
  readonly status: number;
  readonly body: string;
  /** Milliseconds from writing the revocation list to the answer. */
  readonly ms: number;
  readonly sentBytes: number;
  readonly nodeBytes: number;
  /** How the connection to the node ended. */
  readonly nodeEnd: string;
}

export async function revokeHalfWay(): Promise<RevocationResult> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-bench-'));
  const children: ChildProcess[] = [];
  const node = countingNode();
  try {
    const { caller, revoke } = await openGateway(folder, await node.listen(), children);
    const body = new HalfWay(revoke);
    // Slower than the network, so that part of the second half is still to be sent.
    const answer = await caller.put(
      '/v1/models/vision',
      'application/octet-stream',
      body.pieces(),
      BYTES,
      20,
    );
    const ms = performance.now() - body.revokedMs;
    const nodeEnd = await node.ended();
    caller.close();
    const { sentBytes } = body;
    return { status: answer.status, body: answer.body.trim(), ms, sentBytes, nodeBytes: node.bytes, nodeEnd };
  } finally {
    node.close();
    for (const child of children) await stop(child);
    await rm(folder, { recursive: true, force: true });
  }
}

/** A body that calls `revoke` when half of it is sent. */
class HalfWay {
  sentBytes = 0;
  revokedMs = 0;
  readonly #revoke: () => void;

  constructor(revoke: () => void) {
    this.#revoke = revoke;
  }

  *pieces(): Generator<Buffer> {
    for (; this.sentBytes < BYTES; this.sentBytes += PIECE.length) {
      if (this.sentBytes === BYTES / 2) {
        this.revokedMs = performance.now();
        this.#revoke();
      }
      yield PIECE;
    }
  }
}

/** Starts a gateway process. Resolves to a caller with a token, and a function that revokes the token. */
async function openGateway(
  folder: string,
  nodePort: number,
  children: ChildProcess[],
): Promise<{ readonly caller: Caller; readonly revoke: () => void }> {
  const servers = await createAuthority('servers');
  const clients = await createAuthority('clients');
  const worker = await clients.issueClient({ commonName: 'worker' });
  const server = await servers.issueServer({ dnsNames: [HOST] });
  const tokens = await createTokenIssuer();
  const certificates = join(folder, 'certs', HOST);
  const tenants = join(folder, 'policies', 'tenants');
  const revoked = join(tenants, 'revoked.txt');
  const port = await freePort();
  await mkdir(certificates, { recursive: true });
  await mkdir(tenants, { recursive: true });
  await writeFile(join(certificates, 'chain.pem'), server.certificatePem);
  await writeFile(join(certificates, 'key.pem'), server.privateKeyPem);
  await writeFile(join(certificates, 'clients.pem'), clients.certificatePem);
  await writeFile(join(tenants, 'keys.json'), JSON.stringify(tokens.jwks));
  await writeFile(revoked, '# nobody\n');
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gatewayYaml(port));
  await writeFile(join(tenants, 'bench.yaml'), tenantYaml(nodePort));
  await serve(folder, children);
  const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'worker', scope: 'finetune', jti: 'half-way' };
  const tls = { ca: servers.certificatePem, cert: worker.certificatePem, key: worker.privateKeyPem };
  const socket = await secure({ ...tls, servername: HOST, host: '127.0.0.1', port });
  const revoke = (): void => void writeFile(revoked, 'jti:half-way\n');
  return { caller: new Caller(socket, await tokens.sign(claims)), revoke };
}

function tenantYaml(nodePort: number): string {
  return `tenant: bench
serverNames: [${HOST}]
revocation: { tokens: { file: revoked.txt } }
issuers: { main: { issuer: ${ISSUER}, audience: ${AUDIENCE}, keys: { file: keys.json }, algorithms: [ES256] } }
upstreams: { sync: { nodes: ['http://127.0.0.1:${nodePort}'] } }
routes:
  - name: send
    match: { methods: [PUT], path: '/v1/models/{model_id}' }
    require: { scope: finetune }
    upstream: sync
`;
}

interface CountingNode {
  readonly bytes: number;
  listen(): Promise<number>;
  /** Resolves to how its connection ended. */
  ended(): Promise<string>;
  close(): void;
}

function countingNode(): CountingNode {
  let bytes = 0;
  let tell: (how: string) => void = () => undefined;
  const end = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const server: Server = createServer((socket) => {
    socket.on('data', (piece) => {
      bytes += piece.length;
    });
    socket.on('end', () => tell('a clean end'));
    socket.on('error', (error: NodeJS.ErrnoException) => tell(error.code ?? error.message));
  });
  return {
    get bytes() {
      return bytes;
    },
    listen: () =>
      new Promise((resolve) =>
        server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
      ),
    ended: () => end,
    close: () => void server.close(),
  };
}
