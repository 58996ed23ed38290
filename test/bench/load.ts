/** Callers that speak HTTP/1.1 over kept TLS connections, with as little overhead of their own as possible. */

import type { Socket } from 'node:net';
import { HOST } from './names.ts';

/** The status and body bytes of an answer. */
export interface Answer {
  readonly status: number;
  readonly bodyBytes: number;
  readonly body: string;
}

/** One connection that sends one request after another. */
export class Caller {
  readonly #socket: Socket;
  readonly #fields: string;
  #head = '';
  #status = 0;
  #expected = -1;
  #received = 0;
  #body = '';
  #done: ((answer: Answer) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;
  #onWritable: (() => void) | undefined;

  constructor(socket: Socket, token: string | undefined) {
    this.#socket = socket;
    const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
    this.#fields = `Host: ${HOST}\r\nUser-Agent: bench\r\nAccept: */*\r\n${authorization}`;
    socket.on('data', (piece: Buffer) => this.#receive(piece));
    socket.on('drain', () => this.#onWritable?.());
    socket.on('close', () => {
      this.#failed?.(new Error('the connection was closed before the answer'));
      this.#onWritable?.();
    });
  }

  get(path: string): Promise<Answer> {
    const answer = this.#answer();
    this.#socket.write(`GET ${path} HTTP/1.1\r\n${this.#fields}\r\n`, 'latin1');
    return answer;
  }

  /** Sends the pieces, `bytes` in all, as a body with back-pressure, and pauses for `pauseMs` at every 16th piece. */
  async put(
    path: string,
    type: string,
    pieces: Iterable<Buffer>,
    bytes: number,
    pauseMs = 0,
  ): Promise<Answer> {
    const answer = this.#answer();
    const framing = `Content-Type: ${type}\r\nContent-Length: ${bytes}\r\n\r\n`;
    this.#socket.write(`PUT ${path} HTTP/1.1\r\n${this.#fields}${framing}`, 'latin1');
    let sent = 0;
    for (const piece of pieces) {
      sent += 1;
      if (pauseMs > 0 && sent % 16 === 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      if (this.#done === undefined || this.#socket.destroyed) break;
      if (!this.#socket.write(piece)) await this.#writable();
    }
    return answer;
  }

  /** Resolves when the socket accepts more data, or when the answer arrives before that. */
  #writable(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWritable = resolve;
    });
  }

  close(): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }

  #answer(): Promise<Answer> {
    this.#head = '';
    this.#body = '';
    this.#expected = -1;
    this.#received = 0;
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#failed = reject;
    });
  }

  #receive(piece: Buffer): void {
    let body = piece;
    if (this.#expected < 0) {
      this.#head += piece.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#status = Number(this.#head.slice(9, 12));
      this.#expected = Number(/\r\ncontent-length: (\d+)/i.exec(this.#head)?.[1] ?? 0);
      body = piece.subarray(piece.length - (this.#head.length - end - 4));
    }
    this.#received += body.length;
    if (this.#expected < 4096) this.#body += body.toString('latin1');
    if (this.#received < this.#expected) return;
    const done = this.#done;
    this.#done = undefined;
    this.#failed = undefined;
    this.#onWritable?.();
    done?.({ status: this.#status, bodyBytes: this.#received, body: this.#body });
  }
}
