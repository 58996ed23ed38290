/** A node that fails: in this process or, run as a program, in one of its own that can be killed and stopped. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const LENGTH_HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n';
const CHUNKED_HEAD = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const WHOLE = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole';

/** What it does once a request head has come; it reads and drops everything after the head. */
const manners = {
  'says nothing': () => undefined,
  answers: (socket: Socket) => socket.write(WHOLE),
  'takes its time': (socket: Socket) => setTimeout(() => socket.write(WHOLE), 20),
  'stays at the head': (socket: Socket) => socket.write(LENGTH_HEAD),
  'stays in a length': (socket: Socket) => socket.write(`${LENGTH_HEAD}begun`),
  'stays between chunks': (socket: Socket) => socket.write(`${CHUNKED_HEAD}5\r\nbegun\r\n`),
  'answers byte by byte': (socket: Socket) => drip(socket, WHOLE),
  'resets at the head': (socket: Socket) => socket.resetAndDestroy(),
  'resets in its answer': (socket: Socket) => {
    socket.write(`${LENGTH_HEAD}begun`, () => setTimeout(() => socket.resetAndDestroy(), 20));
  },
  'answers in another tongue': (socket: Socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n\r\n'),
  'garbles its chunks': (socket: Socket) => {
    socket.write(`${CHUNKED_HEAD}5\r\nbegun\r\n`, () => setTimeout(() => socket.write('none\r\n'), 20));
  },
  'ends in a length': (socket: Socket) => socket.end(`${LENGTH_HEAD}begun`),
  'ends between chunks': (socket: Socket) => socket.end(`${CHUNKED_HEAD}5\r\nbegun\r\n`),
  'sends more at once': (socket: Socket) => socket.write(`${WHOLE}and more`),
  'sends more later': (socket: Socket) => {
    socket.write(WHOLE, () => setTimeout(() => socket.write(WHOLE), 20));
  },
} as const satisfies Record<string, (socket: Socket) => unknown>;

const LATEST_CHARACTERS = 65_536;

export type Manner = keyof typeof manners;

/** The state of a connection as the node sees it: a reset is never mistaken for an end. */
export type Sight = 'connection' | 'request' | 'end' | 'reset';

export interface FaultNode {
  readonly address: string;
  /** What was seen, in order. */
  readonly sights: readonly Sight[];
}

/** A node in a process of its own. */
export interface NodeProcess extends FaultNode {
  /** Sends SIGKILL and waits for its end. */
  kill(): Promise<void>;
  /** Sends SIGSTOP: the system still takes connections and bytes for it, as far as it has room. */
  stop(): void;
  /** SIGCONT. */
  goOn(): void;
}

export async function startNode(t: Test, manner: Manner): Promise<FaultNode> {
  const sights: Sight[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, manner, (sight) => sights.push(sight));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: addressOf(server.address()), sights };
}

export async function startNodeProcess(t: Test, manner: Manner): Promise<NodeProcess> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), manner], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  t.teardown(kill);
  const sights: Sight[] = [];
  const address = await readLines(child, sights);
  return {
    address,
    sights,
    kill,
    stop: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
  };
}

/** Prints the address first, then one line per observation. */
function readLines(child: ChildProcess, sights: Sight[]): Promise<string> {
  let text = '';
  return new Promise((resolve) => {
    child.stdout?.on('data', (piece: Buffer) => {
      text += piece.toString();
      const [address = '', ...told] = text.split('\n').slice(0, -1);
      sights.splice(0, Number.POSITIVE_INFINITY, ...(told as Sight[]));
      if (address !== '') resolve(address);
    });
  });
}

function serve(socket: Socket, manner: Manner, see: (sight: Sight) => void): void {
  let text = '';
  see('connection');
  socket.on('data', (chunk: Buffer) => {
    // Requests come one after the other on a kept connection; of a body nothing is kept.
    text = (text + chunk.toString('latin1')).slice(-LATEST_CHARACTERS);
    if (!text.includes('\r\n\r\n')) return;
    text = '';
    see('request');
    manners[manner](socket);
  });
  // It answers an end with its own.
  socket.prependListener('end', () => {
    if (!socket.writableEnded) see('end');
  });
  socket.on('error', () => see('reset'));
}

function drip(socket: Socket, text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    socket.write(text.charAt(at));
    at += 1;
    if (at >= text.length) clearInterval(timer);
  }, 10);
  socket.on('close', () => clearInterval(timer));
}

function addressOf(address: AddressInfo | string | null): string {
  if (address === null || typeof address === 'string') throw new Error('the node has no address');
  return `${address.address}:${address.port}`;
}

function run(manner: Manner): void {
  const tell = (line: string): void => void process.stdout.write(`${line}\n`);
  const server = createServer((socket) => serve(socket, manner, tell));
  // With a backlog of one it is soon full while the process is stopped.
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => tell(addressOf(server.address())));
}

const isManner = (text: string): text is Manner => text in manners;

const [, , asked = ''] = process.argv;
if (import.meta.main && isManner(asked)) run(asked);
