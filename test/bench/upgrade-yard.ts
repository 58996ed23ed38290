/** A gateway process with one route for WebSocket and one for streams, and a node for both. */

import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { createAuthority } from '../../gateway/demo/pki.ts';
import { acceptOf } from '../../gateway/http1/websocket.ts';
import { HOST } from './names.ts';
import { serve } from './shipped.ts';
import { freePort, gatewayYaml, stop } from './yard.ts';

/** Handshakes for this path are never answered by the node. */
export const SILENT_PATH = '/feed?silent';

export interface UpgradeYard {
  readonly pid: number;
  readonly admin: string;
  /** Policy file of the tenant. */
  readonly tenantFile: string;
  readonly nodePort: number;
  readonly tls: ConnectionOptions;
  /** Resolves to the number of open connections at the node. */
  nodeConnections(): Promise<number>;
  close(): Promise<void>;
}

export async function openUpgradeYard(): Promise<UpgradeYard> {
  const folder = await mkdtemp(join(tmpdir(), 'patchgate-upgrades-'));
  const children: ChildProcess[] = [];
  const node = createServer(answerWithHash).on('upgrade', (request, socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    if (request.url === SILENT_PATH) return;
    const accept = acceptOf(String(request.headers['sec-websocket-key']));
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.resume();
  });
  await once(node.listen(0, '127.0.0.1'), 'listening');
  const { port: nodePort } = node.address() as AddressInfo;
  const authority = await createAuthority('servers');
  const tenantFile = join(folder, 'policies', 'tenants', 'bench.yaml');
  const port = await freePort();
  await writeFolder(folder, tenantFile, authority, port, nodePort);
  const { pid, admin } = await serve(folder, children);
  return {
    pid,
    admin,
    tenantFile,
    nodePort,
    tls: { host: '127.0.0.1', port, servername: HOST, ca: authority.certificatePem },
    nodeConnections: () => new Promise((resolve) => node.getConnections((_error, count) => resolve(count))),
    close: async () => {
      for (const child of children) await stop(child);
      node.closeAllConnections();
      node.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answerWithHash(
  request: IncomingMessage,
  response: { end(text: string): unknown },
): Promise<void> {
  const hash = createHash('sha256');
  try {
    for await (const piece of request) hash.update(piece as Buffer);
    response.end(hash.digest('hex'));
  } catch {
    // The caller has left.
  }
}

async function writeFolder(
  folder: string,
  tenantFile: string,
  authority: Awaited<ReturnType<typeof createAuthority>>,
  port: number,
  nodePort: number,
): Promise<void> {
  const certificates = join(folder, 'certs', HOST);
  await mkdir(certificates, { recursive: true });
  await mkdir(join(folder, 'policies', 'tenants'), { recursive: true });
  const pair = await authority.issueServer({ dnsNames: [HOST] });
  await writeFile(join(certificates, 'chain.pem'), pair.certificatePem);
  await writeFile(join(certificates, 'key.pem'), pair.privateKeyPem);
  await writeFile(join(folder, 'policies', 'gateway.yaml'), gatewayYaml(port));
  await writeFile(
    tenantFile,
    `tenant: bench
serverNames: [${HOST}]
clientCertificates: none
upstreams: { sync: { nodes: ['http://127.0.0.1:${nodePort}'], connections: { max: 1024, idle: 500ms } } }
routes:
  - { name: feed, match: { methods: [GET], path: /feed }, require: none, upgrade: websocket, upstream: sync }
  - { name: any, match: { methods: [GET, PUT], path: '/**' }, require: none, upstream: sync }
`,
  );
}

/** Resolves to the number of sockets a process has open. */
export async function socketsOf(pid: number): Promise<number> {
  const entries = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(
    entries.map((entry) => readlink(`/proc/${pid}/fd/${entry}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith('socket:')).length;
}
