/**
 * Opens TLS connections to Redis. ioredis handles only one error of a connection; a second one, such as an alert after
 * a handshake was broken off, would end the process.
 */

import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';

const DISCONNECT_MS = 2000;

export class RedisTlsConnector extends AbstractConnector {
  readonly #options: RedisOptions;

  /** ioredis passes its own options. */
  constructor(options: unknown) {
    super(DISCONNECT_MS);
    this.#options = options as RedisOptions;
  }

  /** Resolves before the handshake: ioredis waits for it itself. */
  async connect(): Promise<Socket> {
    const { host = 'localhost', port = 6379, tls } = this.#options;
    this.connecting = true;
    const socket = connect({ host, port, ...tls });
    socket.on('error', (error) => {
      this.firstError ??= error;
    });
    this.stream = socket;
    return socket;
  }
}
