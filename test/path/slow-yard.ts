/** Nodes that read nothing or answer a lot, callers that send slowly, and routes with and without a rate. */

import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { HOST, rawNode, type Stage, type StageOptions, setStage } from './stage.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

export const ROUTES = `  - name: paced
    match: { methods: [GET, PUT], path: '/paced/**' }
    require: none
    stream: { minRate: 100KiB/s, minRateGrace: 500ms }
    upstream: sync
  - name: quick
    match: { methods: [GET], path: '/quick/**' }
    require: none
    stream: { minRate: 4MiB/s, minRateGrace: 500ms }
    upstream: sync
  - name: open
    match: { methods: [GET, PUT], path: '/open/**' }
    require: none
    upstream: sync
`;

export interface Yard extends Stage {
  readonly nodes: readonly Socket[];
}

/** A node that begins an answer of `answerBytes`, or else reads nothing. */
export async function setYard(
  t: Test,
  answerBytes: number | undefined,
  more: Partial<StageOptions> = {},
): Promise<Yard> {
  const nodes: Socket[] = [];
  const node = await rawNode(t, (socket) => {
    if (nodes.includes(socket)) return;
    nodes.push(socket);
    if (answerBytes === undefined) {
      socket.pause();
      return;
    }
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answerBytes}\r\n\r\n`);
    pump(socket, answerBytes);
  });
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: ROUTES,
    gateway: '  timeouts: { linger: 100ms }',
    ...more,
  });
  return { ...stage, nodes };
}

/** A node that reads everything and never answers. */
export const silent = (t: Test, more: Partial<StageOptions> = {}): Promise<Yard> =>
  rawNode(t, () => undefined).then(async ({ address }) => ({
    ...(await setStage(t, {
      nodes: [address],
      routes: ROUTES,
      gateway: '  timeouts: { linger: 100ms }',
      ...more,
    })),
    nodes: [],
  }));

export const put = (path: string, length: number): string =>
  `PUT ${path} HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${length}\r\n\r\n`;
export const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

const PIECE = Buffer.alloc(64 * KIB);

/** Sends so much as fast as it is taken, in copies of the piece. */
export function pump(socket: Socket, bytes: number, piece = PIECE): void {
  let left = bytes;
  const send = (): void => {
    while (left > 0 && !socket.destroyed) {
      left -= piece.length;
      if (!socket.write(piece)) return;
    }
  };
  socket.on('drain', send);
  send();
}

/** Sends so much every 50 ms until the socket closes. */
export function trickle(socket: TLSSocket, bytes: number): void {
  const piece = Buffer.alloc(bytes);
  const timer = setInterval(() => socket.write(piece), 50);
  socket.on('close', () => clearInterval(timer));
}
