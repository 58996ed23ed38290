/** Writes to a caller: small pieces leave together in one TLS record, large ones as they are. */

import type { Socket } from 'node:net';

/** The size of a TLS record: pieces this large gain nothing by waiting for others. */
const LARGE_BYTES = 16_384;

export class CallerOutput {
  readonly #socket: Socket;
  #corked = false;
  /** Text collected for one write. */
  #text = '';
  /** `unsentBytes` at the last look. */
  #unsentAtLook = 0;
  #held = false;
  #flushIsDue = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes written and not yet taken by the system. */
  get unsentBytes(): number {
    return this.#socket.writableLength + this.#text.length;
  }

  get held(): boolean {
    return this.#held;
  }

  /** Postpones every `flush` until `release`. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    if (this.#flushIsDue) this.flush();
  }

  /** Whether bytes are unsent and their number has changed since the last look: the caller is taking them. */
  look(): boolean {
    const before = this.#unsentAtLook;
    this.#unsentAtLook = this.unsentBytes;
    return this.#unsentAtLook > 0 && this.#unsentAtLook !== before;
  }

  /** Makes the next look a first one. */
  forget(): void {
    this.#unsentAtLook = 0;
  }

  /**
   * Text is Latin-1. Small pieces leave with the next `flush`, or earlier. `onWritten` is called when the bytes are no
   * longer needed, but never for small text. Returns false if the writer should wait for 'drain'.
   */
  write(bytes: Buffer | string, onWritten?: () => void): boolean {
    if (bytes.length >= LARGE_BYTES) return this.#writeAlone(bytes, onWritten);
    if (typeof bytes === 'string') {
      this.#text += bytes;
      if (this.#text.length >= LARGE_BYTES) this.#writeText();
      return !this.#socket.writableNeedDrain;
    }
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
    }
    this.#writeText();
    return this.#socket.write(bytes, onWritten);
  }

  /** Ends the connection after everything written; `onEnded` is called once that has left. */
  end(onEnded: () => void): void {
    this.#writeText();
    this.#socket.end(onEnded);
  }

  /** The writer calls it when nothing more comes for now: a timer for each write would cost more than the write. */
  flush(): void {
    this.#flushIsDue = this.#held;
    if (this.#held) return;
    this.#writeText();
    if (!this.#corked) return;
    this.#corked = false;
    this.#socket.uncork();
  }

  #writeText(): void {
    if (this.#text === '') return;
    this.#socket.write(this.#text, 'latin1');
    this.#text = '';
  }

  /** Buffers corked together are copied into one; a large one by itself is not. */
  #writeAlone(bytes: Buffer | string, onWritten: (() => void) | undefined): boolean {
    this.#writeText();
    if (this.#corked) this.#socket.uncork();
    const flows = this.#socket.write(bytes, 'latin1', onWritten);
    if (this.#corked) this.#socket.cork();
    return flows;
  }
}
