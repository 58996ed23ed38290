/**
 * Begins TLS to a Redis. The client itself listens for one error of a connection: another, as of a handshake that was
 * broken off and is answered with an alert, would end the process.
 */

import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';

const DISCONNECT_MS = 2000;

export class RedisTlsConnector extends AbstractConnector {
  readonly #options: RedisOptions;

  /** The client gives its own options. */
  constructor(options: unknown) {
    super(DISCONNECT_MS);
    this.#options = options as RedisOptions;
  }

  /** The client has the connection before anything comes of it. */
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
