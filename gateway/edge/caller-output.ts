/** What goes to a caller: small pieces of one turn leave in one TLS record, large ones as they are. */

import type { Socket } from 'node:net';

/** A TLS record: pieces from there on gain nothing by waiting for others. */
const LARGE_BYTES = 16_384;

export class CallerOutput {
  readonly #socket: Socket;
  #corked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Text is Latin-1. `onWritten` is called when the bytes are not needed any more. False: wait for 'drain'. */
  write(bytes: Buffer | string, onWritten?: () => void): boolean {
    if (bytes.length >= LARGE_BYTES) return this.#writeAlone(bytes, onWritten);
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      setImmediate(this.#letGo);
    }
    return this.#socket.write(bytes, 'latin1', onWritten);
  }

  /** Several buffers together would be copied into one; a large one by itself is not. */
  #writeAlone(bytes: Buffer | string, onWritten: (() => void) | undefined): boolean {
    if (this.#corked) this.#socket.uncork();
    const flows = this.#socket.write(bytes, 'latin1', onWritten);
    if (this.#corked) this.#socket.cork();
    return flows;
  }

  readonly #letGo = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };
}
