/** What goes to a caller: small pieces leave together, in one TLS record, large ones as they are. */

import type { Socket } from 'node:net';

/** A TLS record: pieces from there on gain nothing by waiting for others. */
const LARGE_BYTES = 16_384;

export class CallerOutput {
  readonly #socket: Socket;
  #corked = false;
  /** Text that is not written yet: many small pieces are one write. */
  #text = '';
  /** What was unsent at the last look. */
  #unsentAtLook = 0;
  #held = false;
  #flushIsDue = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Written, and not yet taken by the system. */
  get unsentBytes(): number {
    return this.#socket.writableLength + this.#text.length;
  }

  get held(): boolean {
    return this.#held;
  }

  /** Puts off every `flush` until `release`. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    if (this.#flushIsDue) this.flush();
  }

  /** Whether there is something unsent, and another amount of it than at the last look: the caller takes it. */
  look(): boolean {
    const before = this.#unsentAtLook;
    this.#unsentAtLook = this.unsentBytes;
    return this.#unsentAtLook > 0 && this.#unsentAtLook !== before;
  }

  /** The next look is a first one. */
  forget(): void {
    this.#unsentAtLook = 0;
  }

  /**
   * Text is Latin-1, and nobody hears of it. What is small leaves with the next `flush`, or before. `onWritten` is called
   * when the bytes are not needed any more. False: wait for 'drain'.
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

  /** Ends the connection behind all that was written; `onEnded` is called once it has left. */
  end(onEnded: () => void): void {
    this.#writeText();
    this.#socket.end(onEnded);
  }

  /** Whoever writes says when nothing more comes for now: a timer for each write would cost more than the write. */
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

  /** Several buffers together would be copied into one; a large one by itself is not. */
  #writeAlone(bytes: Buffer | string, onWritten: (() => void) | undefined): boolean {
    this.#writeText();
    if (this.#corked) this.#socket.uncork();
    const flows = this.#socket.write(bytes, 'latin1', onWritten);
    if (this.#corked) this.#socket.cork();
    return flows;
  }
}
