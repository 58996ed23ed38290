/**
 * Lets an accepted TLS socket read into our own memory. `net.connect` offers this as `onread`; accepted sockets have
 * the same machinery but no public access to it (nodejs/node#63956). Only this file knows its internals, and nothing
 * uses it before `ownReadsWork` has seen it work on this Node.
 */

import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { connect, createServer as createTlsServer, type TLSSocket } from 'node:tls';

/** Chooses where reads go, and is called for each. */
export interface OwnReads {
  /** The memory for the first read. */
  readonly first: Buffer;
  /** `bytes` bytes were read into the memory last chosen. */
  onRead(bytes: number): void;
  /** Returns the memory for the next read; called after each `onRead`. */
  next(): Buffer;
}

const SYMBOLS = ['kBuffer', 'kBufferGen', 'kBufferCb'] as const;
type Internals = Readonly<Record<(typeof SYMBOLS)[number], symbol>>;

/** Returns false, and changes nothing, if this Node lacks the machinery; else no 'data' event comes any more. */
export function readIntoOwn(socket: Socket, reads: OwnReads): boolean {
  const internals = findInternals(socket);
  const handle: unknown = Reflect.get(socket, '_handle');
  if (internals === undefined || !canUseBuffers(handle)) return false;
  Reflect.set(socket, internals.kBuffer, reads.first);
  Reflect.set(socket, internals.kBufferGen, () => reads.next());
  Reflect.set(socket, internals.kBufferCb, (bytes: number) => {
    reads.onRead(bytes);
    return true;
  });
  handle.useUserBuffer(reads.first);
  socket.resume();
  return true;
}

function findInternals(socket: Socket): Internals | undefined {
  const own = Object.getOwnPropertySymbols(socket);
  const found = SYMBOLS.map((name) => [name, own.find(({ description }) => description === name)] as const);
  if (found.some(([, symbol]) => symbol === undefined)) return undefined;
  return Object.fromEntries(found) as unknown as Internals;
}

function canUseBuffers(handle: unknown): handle is { useUserBuffer(buffer: Buffer): void } {
  return typeof handle === 'object' && handle !== null && 'useUserBuffer' in handle;
}

/** Enough for records of every length, and for pauses between them. */
const TEST_BYTES = 200_000;
const TEST_MS = 2000;
/** Needs no certificate. */
const TEST_SECRET = { psk: Buffer.alloc(32, 7), identity: 'self-test' };
/** Without `ca`, Node would load every public authority. */
const TEST_TLS = {
  ciphers: 'PSK-AES128-GCM-SHA256',
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
  ca: [] as string[],
} as const;

/** Sends bytes to itself over TLS; resolves to true if every one arrives, once and in order, within two seconds. */
export async function ownReadsWork(): Promise<boolean> {
  const sent = Buffer.from(Array.from({ length: TEST_BYTES }, (_, at) => (at * 31) & 255));
  const tls = createTlsServer({ ...TEST_TLS, pskCallback: () => TEST_SECRET.psk });
  // As in the listener, another server accepts the connection and hands it over.
  const tcp = createServer((socket) => void tls.emit('connection', socket));
  try {
    return await new Promise<boolean>((resolve) => {
      setTimeout(() => resolve(false), TEST_MS).unref();
      tls.on('secureConnection', (socket) => compare(socket, sent, resolve));
      tls.on('tlsClientError', () => resolve(false));
      tcp.on('error', () => resolve(false));
      // Otherwise node:cluster gives all workers that listen on port 0 the same port.
      const address = { host: '127.0.0.1', port: 0, exclusive: true };
      tcp.listen(address, () => send(tcp, sent, () => resolve(false)));
    });
  } finally {
    tcp.close();
  }
}

function send(tcp: Server, bytes: Buffer, onError: () => void): void {
  const address = tcp.address();
  if (address === null || typeof address === 'string') throw new Error('the listener has no address');
  const socket = connect({
    ...TEST_TLS,
    socket: dial(address.port, '127.0.0.1'),
    checkServerIdentity: () => undefined,
    pskCallback: () => TEST_SECRET,
  });
  socket.on('error', onError);
  socket.on('secureConnect', () => socket.end(bytes));
}

function compare(socket: TLSSocket, sent: Buffer, done: (works: boolean) => void): void {
  const memory = [Buffer.alloc(16_384), Buffer.alloc(16_384)] as const;
  let target: Buffer = memory[0];
  let received = 0;
  let isSame = true;
  const began = readIntoOwn(socket, {
    first: target,
    onRead: (bytes) => {
      isSame &&= target.subarray(0, bytes).equals(sent.subarray(received, received + bytes));
      received += bytes;
      target.fill(0);
      socket.pause();
      setImmediate(() => socket.resume());
    },
    next: () => {
      target = target === memory[0] ? memory[1] : memory[0];
      return target;
    },
  });
  socket.on('data', () => {
    isSame = false;
  });
  socket.on('error', () => done(false));
  socket.on('end', () => {
    done(began && isSame && received === sent.length);
    socket.destroy();
  });
  if (!began) {
    socket.destroy();
    done(false);
  }
}
