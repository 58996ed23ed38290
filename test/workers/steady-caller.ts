/** Callers that ask again and again, as clients that rely on a gateway do, and count failures. */
import type { TLSSocket } from 'node:tls';
import { sleep } from '../path/stage.ts';

export interface SteadyOptions {
  readonly connect: () => Promise<TLSSocket>;
  /** Whether each request gets its own connection. */
  readonly isFresh?: boolean;
  /** The pause between two requests. */
  readonly pauseMs?: number;
}

/** One caller: asks until stopped, and reconnects when an answer was the last of its connection. */
export class SteadyCaller {
  answered = 0;
  connections = 0;
  /** Requests that got no whole answer of 200, and connections that failed. */
  readonly failures: string[] = [];
  /** Connections that were reset before anything could be asked. */
  resets = 0;
  readonly ended: Promise<void>;
  readonly #options: SteadyOptions;
  #isStopped = false;

  constructor(options: SteadyOptions) {
    this.#options = options;
    this.ended = this.#run();
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    return this.ended;
  }

  async #run(): Promise<void> {
    const { connect, isFresh = false, pauseMs = 5 } = this.#options;
    let socket: TLSSocket | undefined;
    while (!this.#isStopped) {
      try {
        if (socket === undefined) {
          socket = await connect().catch((error: NodeJS.ErrnoException) => {
            if (error.code !== 'ECONNRESET') throw error;
            this.resets += 1;
            return undefined;
          });
          if (socket === undefined) continue;
          this.connections += 1;
        }
        const isLast = await ask(socket, isFresh);
        this.answered += 1;
        if (isLast) {
          socket.destroy();
          socket = undefined;
        }
      } catch (error) {
        this.failures.push(error instanceof Error ? error.message : String(error));
        socket?.destroy();
        socket = undefined;
      }
      await sleep(pauseMs);
    }
    socket?.destroy();
  }
}

/** Resolves to whether the connection ends after the answer. */
function ask(socket: TLSSocket, isFresh: boolean): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const fail = (): void => reject(new Error(`closed after "${answer.slice(0, 40)}"`));
    const hear = (piece: Buffer): void => {
      answer += piece.toString('latin1');
      if (!answer.endsWith('\r\n\r\nok')) return;
      socket.off('data', hear);
      socket.off('close', fail);
      if (answer.startsWith('HTTP/1.1 200 ')) resolve(/\r\nConnection: close\r\n/i.test(answer));
      else reject(new Error(answer.slice(0, 80)));
    };
    socket.on('data', hear);
    socket.on('close', fail);
    if (socket.destroyed) fail();
    const fields = `Host: a.test\r\n${isFresh ? 'Connection: close\r\n' : ''}`;
    socket.write(`GET /open/x HTTP/1.1\r\n${fields}\r\n`);
  });
}
