/** A node that switches to WebSocket, the routes to it, and callers that ask for a tunnel. */

import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { acceptOf } from '../../gateway/http1/websocket.ts';
import { exchange, HOST, rawNode, type Stage, setStage } from './stage.ts';

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

const ROUTES = `  - name: feed
    match: { methods: [GET], path: '/feed/{model_id}' }
    require: { scope: read }
    upgrade: websocket
    tunnel: { idle: 600ms, lifetime: 2s }
    upstream: sync
  - name: open
    match: { methods: [GET], path: '/open/**' }
    require: none
    upstream: sync
`;

export interface Yard extends Stage {
  /** The node ends of its connections, in order. */
  readonly nodes: readonly Socket[];
  readonly received: readonly string[];
}

export const switched = (key: string, more = ''): string =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n${more}\r\n`;

/** A node that switches on request and then echoes everything, unless `answer` says otherwise. */
export async function setYard(t: Test, answer?: (socket: Socket, key: string) => void): Promise<Yard> {
  const nodes: Socket[] = [];
  const node = await rawNode(t, (socket, text) => {
    const [head = '', ...rest] = text.split('\r\n\r\n');
    if (nodes.includes(socket)) {
      if (answer === undefined) socket.write(rest.join('\r\n\r\n'), 'latin1');
      return;
    }
    if (!text.includes('\r\n\r\n')) return;
    nodes.push(socket);
    const [, key = ''] = /sec-websocket-key: (\S+)/i.exec(head) ?? [];
    if (answer === undefined) socket.write(switched(key));
    else answer(socket, key);
  });
  const stage = await setStage(t, {
    nodes: [node.address],
    routes: ROUTES,
    gateway: '  timeouts: { linger: 100ms }',
  });
  return { ...stage, nodes, received: node.received };
}

export interface UpgradeRequest {
  readonly path?: string;
  readonly fields?: Readonly<Record<string, string | undefined>>;
  readonly start?: string;
}

export const upgradeRequest = (
  token: string,
  { path = '/feed/vision', fields = {}, start }: UpgradeRequest = {},
): string => {
  const all: Record<string, string | undefined> = {
    Host: HOST,
    Authorization: `Bearer ${token}`,
    Connection: 'keep-alive, Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': KEY,
    ...fields,
  };
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  return `${start ?? `GET ${path} HTTP/1.1`}\r\n${lines.join('')}\r\n`;
};

interface Tunnel {
  readonly socket: TLSSocket;
  readonly head: string;
}

export async function open(yard: Yard, request?: UpgradeRequest): Promise<Tunnel> {
  const socket = await yard.connect();
  socket.on('error', () => undefined);
  const head = await exchange(socket, upgradeRequest(await yard.token(), request), (text) =>
    text.includes('\r\n\r\n'),
  );
  return { socket, head };
}
