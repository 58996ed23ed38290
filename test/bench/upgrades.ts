/** WebSocket handshakes whose callers leave at various moments: sockets that gateway and `http-proxy` still hold. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as dial, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { HOST } from './names.ts';
import { openUpgradeYard, SILENT_PATH, socketsOf, type UpgradeYard } from './upgrade-yard.ts';
import { stop } from './yard.ts';

export interface AbortResult {
  readonly name: string;
  readonly aborted: number;
  readonly socketsBefore: number;
  readonly socketsAfter: number;
  /** Connections that the node still has open. */
  readonly nodeConnections: number;
}

const BATCH = 50;
const SETTLE_MS = 3000;
const handshake = (target: string): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
const HANDSHAKE = handshake('/feed');
const UNANSWERED = handshake(SILENT_PATH);

/** Measures the gateway, over TLS with resumed sessions, and `http-proxy`, without TLS, if it is installed. */
export async function abortUpgrades(count: number): Promise<readonly AbortResult[]> {
  const yard = await openUpgradeYard();
  try {
    const session = await sessionOf(yard);
    const ours = await aborted('patchgate', yard.pid, yard, count, () =>
      connect({ ...yard.tls, session }).setNoDelay(true),
    );
    const theirs = await abortedByHttpProxy(yard, count);
    return theirs === undefined ? [ours] : [ours, theirs];
  } finally {
    await yard.close();
  }
}

async function abortedByHttpProxy(yard: UpgradeYard, count: number): Promise<AbortResult | undefined> {
  const script = new URL('http-proxy-side.ts', import.meta.url).pathname;
  const child: ChildProcess = spawn(process.execPath, [script, String(yard.nodePort)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  if (child.stdout === null) return undefined;
  const [line] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [unknown];
  if (!Buffer.isBuffer(line)) return undefined;
  try {
    const port = Number(line.toString());
    return await aborted('http-proxy', child.pid ?? 0, yard, count, () => dial(port, '127.0.0.1'));
  } finally {
    await stop(child);
  }
}

async function aborted(
  name: string,
  pid: number,
  yard: UpgradeYard,
  count: number,
  open: () => Socket,
): Promise<AbortResult> {
  const socketsBefore = await socketsOf(pid);
  for (let done = 0; done < count; done += BATCH) {
    await Promise.all(Array.from({ length: BATCH }, (_, index) => abort(open(), index)));
  }
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const [socketsAfter, nodeConnections] = [await socketsOf(pid), await yard.nodeConnections()];
  return { name, aborted: count, socketsBefore, socketsAfter, nodeConnections };
}

/** Leaves within the head, right after it, 20 ms later, while the node is silent, or once the tunnel is open. */
async function abort(socket: Socket, index: number): Promise<void> {
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  const leave = (): void => void (index % 2 === 0 ? socket.destroy() : socket.end());
  socket.on('error', () => socket.destroy());
  socket.on('data', leave);
  const moment = index % 5;
  if (moment === 0) socket.write(HANDSHAKE.slice(0, -2));
  else socket.write(moment === 3 ? UNANSWERED : HANDSHAKE);
  if (moment < 2) setImmediate(leave);
  else if (moment < 4) setTimeout(leave, moment * 10);
  setTimeout(() => socket.destroy(), 2000).unref();
  await closed;
}

async function sessionOf({ tls }: UpgradeYard): Promise<Buffer> {
  const socket: TLSSocket = connect(tls);
  const [session] = (await once(socket, 'session')) as [Buffer];
  socket.destroy();
  return session;
}
