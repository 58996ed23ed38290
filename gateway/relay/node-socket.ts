/** The socket to a node: plain, read into buffers that are used again, or under TLS. */

import { connect, type Socket } from 'node:net';
import type { Destination } from './destination.ts';
import { ReadBuffers } from './read-buffers.ts';

/** Of more the system has its own; less, and every turn of a fast stream would wait for the next. */
const BUFFER_BYTES = 1 << 17;

export class NodeSocket {
  readonly stream: Socket;
  /** The TCP connection, below TLS if there is some: a reset is its own. */
  readonly #transport: Socket;
  /** Where it is read to; absent where every chunk has memory of its own. */
  readonly #buffers: ReadBuffers | undefined;

  /** Begins to connect; `onMade` is called when the node may be spoken to. */
  constructor(
    { node, address, securedBy }: Destination,
    onMade: () => void,
    onChunk: (chunk: Buffer) => void,
  ) {
    // A name keeps the types from objecting: they lack highWaterMark, which every Duplex takes.
    const options = { host: address, port: node.port, noDelay: true, highWaterMark: BUFFER_BYTES };
    if (securedBy === undefined) {
      this.#buffers = new ReadBuffers();
      this.#transport = connect({ ...options, onread: this.#buffers.onread(onChunk) });
      this.stream = this.#transport;
      readOnPastBrokenWrites(this.stream);
      this.stream.on('connect', onMade);
      return;
    }
    this.#transport = connect(options);
    this.stream = securedBy.secure(this.#transport, node);
    readOnPastBrokenWrites(this.stream);
    this.stream.on('secureConnect', onMade);
    this.stream.on('data', onChunk);
  }

  /**
   * Keeps the bytes of the running chunk until the answer is called; unless held they are others' after it. Nothing
   * where they are nobody else's anyway.
   */
  hold(): (() => void) | undefined {
    return this.#buffers?.hold();
  }

  /** The node sees a reset. */
  breakOff(): void {
    // While its end is on its way a socket cannot be reset, and one that was tried on never closes.
    if (!this.stream.writableEnded) this.#transport.resetAndDestroy();
    this.stream.destroy();
  }
}

const GONE: ReadonlySet<string | undefined> = new Set(['EPIPE', 'ECONNRESET']);

/**
 * A node that answers amid the request and closes resets the connection (RFC 9112 §9.6). A write that fails for it would
 * end the socket before its answer is read; the reading side comes to the same end, behind the answer.
 */
function readOnPastBrokenWrites(socket: Socket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  const past =
    (callback: (error?: Error | null) => void) =>
    (error?: NodeJS.ErrnoException | null): void =>
      callback(GONE.has(error?.code) ? null : error);
  socket._write = (chunk, encoding, callback) => write(chunk, encoding, past(callback));
  if (writev !== undefined) socket._writev = (chunks, callback) => writev(chunks, past(callback));
}
