/** Callers of the topology: consecutive small requests and slow downloads, each reported by its connection. */

import { once } from 'node:events';
import { connect as dial } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { MODEL } from '../../gateway/demo/stack.ts';
import type { GatewayAddress } from '../../gateway/push/gateway-client.ts';
import { exchange, isWhole } from '../path/stage.ts';
import { readMade, type Tenant, type Yard } from './yard.ts';

const REQUESTS_A_CONNECTION = 5;

/** A request as its caller saw it. */
export interface Attempt {
  /** The address of the connection, as the balancer sees it. */
  readonly address: string;
  readonly port: number;
  /** When the connection was opened, by `performance.now()`. */
  readonly openedMs: number;
  /** The status of a whole answer; 0 if the connection ended before. */
  readonly status: number;
}

/** The credentials of a worker of a tenant, and where it calls. */
export async function workerOf(
  { folder, port }: Yard,
  tenant: Tenant,
): Promise<GatewayAddress & { readonly token: string; readonly servername: string }> {
  const [caPem, certPem, keyPem, token] = await Promise.all([
    readMade(folder, 'certs', 'dev', 'ca.pem'),
    readMade(folder, 'certs', 'dev', tenant, 'worker.pem'),
    readMade(folder, 'certs', 'dev', tenant, 'worker-key.pem'),
    readMade(folder, 'callers', `${tenant}.token`),
  ]);
  const servername = `${tenant}.example.com`;
  const to = `https://${servername}:${port}`;
  return {
    to,
    connectTo: { host: '127.0.0.1', port },
    servername,
    caPem,
    certPem,
    keyPem,
    token: token.trim(),
  };
}

export type Worker = Awaited<ReturnType<typeof workerOf>>;

/** A connection from an address of this machine, and where it came from. Its socket may fail. */
interface Line {
  readonly socket: TLSSocket;
  readonly told: Omit<Attempt, 'status'>;
}

async function open(worker: Worker, address: string): Promise<Line> {
  const { host = '', port = 0 } = worker.connectTo ?? {};
  const openedMs = performance.now();
  const raw = dial({ host, port, localAddress: address });
  await once(raw, 'connect');
  const told = { address, port: raw.localPort ?? 0, openedMs };
  const { servername, caPem: ca, certPem: cert, keyPem: key } = worker;
  const socket = connect({ socket: raw, servername, ca, cert, key } as ConnectionOptions);
  socket.on('error', () => undefined);
  return { socket, told };
}

const request = ({ servername, token }: Worker, path: string): string =>
  `GET /v1/models/${MODEL}${path} HTTP/1.1\r\nHost: ${servername}\r\nAuthorization: Bearer ${token}\r\n\r\n`;

const statusOf = (text: string): number =>
  isWhole(text) ? Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? 0) : 0;

/** Sends one request on its own connection. */
export async function ask(worker: Worker, address: string): Promise<Attempt> {
  const { socket, told } = await open(worker, address);
  const status = statusOf(await exchange(socket, request(worker, ''), isWhole));
  socket.destroy();
  return { ...told, status };
}

/** Sends requests, five per connection, until `stopped`; each outcome is added to `attempts`. */
export async function keepAsking(
  worker: Worker,
  address: string,
  attempts: Attempt[],
  stopped: () => boolean,
): Promise<void> {
  while (!stopped()) {
    const { socket, told } = await open(worker, address);
    for (let turn = 0; turn < REQUESTS_A_CONNECTION && !stopped(); turn += 1) {
      const status = statusOf(await exchange(socket, request(worker, ''), isWhole));
      attempts.push({ ...told, status });
      if (status === 0) break;
    }
    socket.destroy();
  }
}

/** A download whose caller has read the head and nothing more. */
export interface Download {
  readonly told: Omit<Attempt, 'status'>;
  /** Reads the rest; resolves to whether it was whole. */
  finish(): Promise<boolean>;
  leave(): void;
}

export async function beginDownload(worker: Worker, address: string): Promise<Download> {
  const { socket, told } = await open(worker, address);
  let [head, received] = ['', 0];
  socket.on('data', (piece: Buffer) => {
    if (head === '') head = piece.toString('latin1');
    received += piece.length;
  });
  socket.write(request(worker, '/weights'));
  await once(socket, 'data');
  socket.pause();
  const isAll = (): boolean => {
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    return received === head.indexOf('\r\n\r\n') + 4 + length;
  };
  const finish = async (): Promise<boolean> => {
    const ended = new Promise<void>((resolve) => {
      socket.on('close', () => resolve());
      socket.on('data', () => isAll() && resolve());
    });
    socket.resume();
    await ended;
    socket.destroy();
    return isAll();
  };
  return { told, finish, leave: () => void socket.destroy() };
}
