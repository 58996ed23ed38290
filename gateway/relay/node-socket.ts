/** The socket to a node: plain, read into reused buffers, or under TLS. */

import { connect, type Socket } from 'node:net';
import type { Destination } from './destination.ts';
import { ReadBuffers } from './read-buffers.ts';

/** More would only add to the kernel's own buffer; with less, a fast stream would stall on every turn. */
const BUFFER_BYTES = 1 << 17;

export class NodeSocket {
  readonly stream: Socket;
  /** The TCP connection, below TLS if any; resets are sent here. */
  readonly #transport: Socket;
  /** Absent under TLS, where every chunk has memory of its own. */
  readonly #buffers: ReadBuffers | undefined;

  /** Begins to connect and calls `onMade` when requests may be sent. */
  constructor(
    { node, address, securedBy }: Destination,
    onMade: () => void,
    onChunk: (chunk: Buffer) => void,
  ) {
    // In a variable, since the types of `connect` lack highWaterMark, which every Duplex takes.
    const options = { host: address, port: node.port, noDelay: true, highWaterMark: BUFFER_BYTES };
    if (securedBy === undefined) {
      this.#buffers = new ReadBuffers();
      this.#transport = connect({ ...options, onread: this.#buffers.onread(onChunk) });
      this.stream = this.#transport;
      readOnPastBrokenWrites(this.stream);
      this.stream.on('connect', onMade);
      this.stream.on('close', () => this.#buffers?.close());
      return;
    }
    this.#transport = connect(options);
    this.stream = securedBy.secure(this.#transport, node);
    readOnPastBrokenWrites(this.stream);
    this.stream.on('secureConnect', onMade);
    this.stream.on('data', onChunk);
  }

  /**
   * Keeps the bytes of the current chunk until the returned function is called; unless held, their buffer is reused
   * after `onChunk`. Returns undefined if they have memory of their own and need no hold.
   */
  hold(): (() => void) | undefined {
    return this.#buffers?.hold();
  }

  /** No response is expected for now. */
  rest(): void {
    this.#buffers?.rest();
  }

  /** The node sees a reset. */
  breakOff(): void {
    // A socket that is sending its end cannot be reset, and would never close after an attempt.
    if (!this.stream.writableEnded) this.#transport.resetAndDestroy();
    this.stream.destroy();
  }
}

const GONE: ReadonlySet<string | undefined> = new Set(['EPIPE', 'ECONNRESET']);

/**
 * A node that answers before it has read the whole request and then closes resets the connection (RFC 9112 §9.6). The
 * failed write would destroy the socket before that answer is read, so it is ignored: reading ends with the same error,
 * after the answer.
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
