/** A caller that reports what it got and can leave in two ways: by an end and by a reset. */

import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { HOST, isWhole, type Stage } from '../path/stage.ts';

export type Leave = 'FIN' | 'RST';

/** The part of a stage that a caller needs. */
export type Door = Pick<Stage, 'port' | 'ca' | 'worker'>;

export class FaultCaller {
  readonly #tcp: Socket;
  readonly #tls: TLSSocket;
  #text = '';
  #closed = false;

  private constructor(tcp: Socket, tls: TLSSocket) {
    this.#tcp = tcp;
    this.#tls = tls;
    for (const socket of [tcp, tls]) socket.on('error', () => undefined);
    tls.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
    });
    tls.on('close', () => {
      this.#closed = true;
    });
  }

  /** Resolves when the handshake is done, which costs little with a `session` of another caller. */
  static async arrive({ port, ca, worker }: Door, session?: Buffer): Promise<FaultCaller> {
    const tcp = connectTcp(port, '127.0.0.1');
    const pair = { cert: worker.certificatePem, key: worker.privateKeyPem };
    const tls = connect({ socket: tcp, servername: HOST, ca, ...pair, ...(session && { session }) });
    const caller = new FaultCaller(tcp, tls);
    await new Promise<void>((resolve, reject) => {
      tls.once('secureConnect', resolve);
      tls.once('close', () => reject(new Error('the handshake failed')));
    });
    return caller;
  }

  /** Everything received. */
  get text(): string {
    return this.#text;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes written and not yet taken by the system. */
  get unsentBytes(): number {
    return this.#tls.writableLength;
  }

  /** The TLS session, which others may resume. */
  get session(): Promise<Buffer> {
    return new Promise((resolve) => this.#tls.once('session', resolve));
  }

  send(bytes: string | Buffer): void {
    this.#tls.write(bytes);
  }

  /** Closes what is left of it. */
  drop(): void {
    this.#tls.destroy();
  }

  leave(how: Leave): void {
    if (how === 'FIN') this.#tls.end();
    else this.#tcp.resetAndDestroy();
  }

  /** The outcome of its request so far, in the words of the matrix; undefined while that is open. */
  get got(): string | undefined {
    const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(this.#text) ?? [];
    if (status === undefined) return this.#closed ? 'nothing, closed' : undefined;
    const [, code] = /"code":"([a-z-]+)"/.exec(this.#text) ?? [];
    const isChunked = /^transfer-encoding: chunked\r$/im.test(this.#text);
    if (isChunked ? this.#text.endsWith('\r\n0\r\n\r\n') : isWhole(this.#text)) {
      if (status === '503' && !/^retry-after: \d+\r$/im.test(this.#text)) return '503 without Retry-After';
      return code === undefined ? `${status}, whole` : `${status} ${code}`;
    }
    return this.#closed ? `${status}, broken` : undefined;
  }
}

/** A request head for the route on which faults are tried. */
export const get = (path = '/fault/x'): string => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

export const put = (framing: string, path = '/fault/x'): string =>
  `PUT ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${framing}\r\n\r\n`;
