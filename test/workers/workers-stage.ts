/** A gateway of two workers as real processes, and questions to it from outside. */
import { join } from 'node:path';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { ports, type Running, start, writePolicy } from '../commands/process.ts';
import { exchange, isWhole, type StageOptions, secure, sleep } from '../path/stage.ts';

export interface WorkerStatus {
  readonly worker: number;
  readonly pid: number;
  readonly accepting: boolean;
  readonly silent: boolean;
  readonly generation: number;
}

export interface WorkersStage extends Awaited<ReturnType<typeof writePolicy>> {
  readonly running: Running;
  readonly edge: number;
  readonly config: string;
  connect(options?: ConnectionOptions): Promise<TLSSocket>;
  /** The status of a request on its own connection. */
  status(path?: string): Promise<string>;
  workers(): Promise<readonly WorkerStatus[]>;
  /** A page of the admin listener; `POST` makes changes. */
  admin(path: string, method?: 'GET' | 'POST'): Promise<string>;
  /** The value of the series that begins like this, or NaN. */
  metric(series: string): Promise<number>;
}

export interface WorkersOptions extends Pick<StageOptions, 'routes' | 'upstream'> {
  readonly node: string;
  /** Keys under `gateway:`. */
  readonly gateway?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export async function setWorkers(t: Test, options: WorkersOptions): Promise<WorkersStage> {
  const { node, gateway = '  workers: 2', env } = options;
  const written = await writePolicy(t, node, gateway, options);
  const config = join(written.folder, 'policies');
  const running = start(t, ['serve', '--config', config], '.', env);
  const { edge, admin } = await ports(running);
  const ask = async (path: string, method = 'GET'): Promise<string> =>
    (await fetch(`http://127.0.0.1:${admin}${path}`, { method })).text();
  const connect = (more: ConnectionOptions = {}): Promise<TLSSocket> =>
    secure({ host: '127.0.0.1', port: edge, ...written.caller, ...more });
  return {
    ...written,
    running,
    edge,
    config,
    connect,
    status: async (path = '/open/x') => {
      const socket = await connect();
      const answer = await exchange(socket, `GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`, isWhole);
      socket.destroy();
      return answer.slice(9, 12);
    },
    workers: async () => JSON.parse(await ask('/policy')).workers,
    admin: ask,
    metric: async (series) => {
      const line = (await ask('/metrics')).split('\n').find((each) => each.startsWith(series));
      return Number(line?.split(' ').at(-1) ?? Number.NaN);
    },
  };
}

/** Asks until it is so; the test times out if it never is. */
export async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo().catch(() => false))) await sleep(10);
}

export async function allAccept({ workers }: WorkersStage, count = 2): Promise<void> {
  await eventually(async () => {
    const now = await workers();
    return now.length === count && now.every(({ accepting }) => accepting);
  });
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
