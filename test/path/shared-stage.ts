/** Gateways that share the limits of one route through one Redis, and callers that stay connected. */

import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { type RunningServer, startRedis, until } from '../lists/servers.ts';
import { HOST, isWhole, type Stage, setStage, sleep } from './stage.ts';

export interface SharedStage {
  readonly redis: RunningServer;
  readonly gateways: readonly Stage[];
}

export interface SharedOptions {
  /** Limits as a route writes them. */
  readonly limits: string;
  readonly onFailure?: 'local' | 'deny' | 'allow';
  readonly node: string;
  readonly gateways?: number;
}

/** If each counts for itself while Redis is away, all of them know how many they are. */
export async function setSharedStage(t: Test, options: SharedOptions): Promise<SharedStage> {
  const { limits, onFailure = 'local', node, gateways: count = 3 } = options;
  const redis = await startRedis(t);
  const gateways: Stage[] = [];
  for (let index = 0; index < count; index++) {
    gateways.push(
      await setStage(t, {
        nodes: [node],
        gateway: `  state: { redis: 'redis://127.0.0.1:${redis.port}', onFailure: ${onFailure} }\n  timeouts: { linger: 100ms }`,
        routes: `  - name: limited
    match: { methods: [GET, PUT], path: '/limited/{model_id}' }
    require: { scope: read }
    limits: ${limits}
    upstream: sync
`,
        upstream: '    connections: { max: 512 }\n    breaker: { maxConcurrent: 512 }\n',
      }),
    );
  }
  const knowAll = async (): Promise<boolean> => {
    const known = await Promise.all(
      gateways.map((stage) => metric(stage, 'patchgate_limit_store_gateways{store="redis"}')),
    );
    return known.every((each) => each === count);
  };
  if (onFailure === 'local' && !(await until(knowAll)))
    throw new Error('the gateways do not know of each other');
  return { redis, gateways };
}

/** The value of one series, or 0 if there is none. */
export async function metric({ admin }: Stage, series: string): Promise<number> {
  const text = await (await fetch(`${admin}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? 0);
}

/** One answer to a staying caller. */
export interface Asked {
  readonly status: number;
  readonly ms: number;
  readonly text: string;
}

export class StayingCaller {
  readonly #socket: TLSSocket;
  readonly #request: string;
  #text = '';
  #onText: (() => void) | undefined;

  static async connect(stage: Stage, sub = 'worker-1'): Promise<StayingCaller> {
    const token = await stage.token({ sub, model_id: undefined });
    return new StayingCaller(await stage.connect(), token);
  }

  private constructor(socket: TLSSocket, token: string) {
    this.#socket = socket;
    this.#request = `GET /limited/vision HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      if (isAnswered(this.#text)) this.#onText?.();
    });
    socket.on('close', () => this.#onText?.());
  }

  async ask(): Promise<Asked> {
    const beganMs = performance.now();
    this.#text = '';
    this.#socket.write(this.#request);
    await new Promise<void>((resolve) => {
      this.#onText = resolve;
    });
    return { status: Number(this.#text.slice(9, 12)), ms: performance.now() - beganMs, text: this.#text };
  }

  close(): void {
    this.#socket.destroy();
  }
}

const isAnswered = (text: string): boolean => text.includes('\r\n\r\n') && isWhole(text);

/** So many callers of each gateway ask until `goesOn` is false; those refused for lack of Redis pause briefly. */
export async function askTogether(
  { gateways }: SharedStage,
  callersEach: number,
  goesOn: (asked: number, answers: readonly Asked[]) => boolean,
): Promise<readonly Asked[]> {
  const answers: Asked[] = [];
  const callers = await Promise.all(
    gateways.flatMap((stage) => Array.from({ length: callersEach }, () => StayingCaller.connect(stage))),
  );
  await Promise.all(
    callers.map(async (caller) => {
      for (let asked = 0; goesOn(asked, answers); asked++) {
        const answer = await caller.ask();
        answers.push(answer);
        if (answer.status === 503) await sleep(20);
      }
      caller.close();
    }),
  );
  return answers;
}

/** A node that reads and counts everything, answers each head after `answerMs`, and counts how many run at once. */
export interface CountingNode {
  readonly address: string;
  readonly bytes: number;
  readonly mostAtOnce: number;
}

export async function countingNode(t: Test, answerMs: number): Promise<CountingNode> {
  const node = { address: '', bytes: 0, mostAtOnce: 0 };
  const sockets = new Set<Socket>();
  let atOnce = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      node.bytes += chunk.length;
      // The head of an upload is not a request to answer, as its body does not end.
      if (!chunk.subarray(0, 4).equals(Buffer.from('GET '))) return;
      atOnce += 1;
      node.mostAtOnce = Math.max(node.mostAtOnce, atOnce);
      setTimeout(() => {
        atOnce -= 1;
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      }, answerMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  node.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return node;
}
