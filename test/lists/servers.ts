/** Real etcd, Redis and other servers on free loopback ports in their own folders, to be killed, paused and restarted. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { Test } from 'tap';
import { newFolder } from '../new-folder.ts';

/** Why tests that need the program are skipped; false if it is there, or if nothing may be skipped. */
export function skipWithout(
  program: string,
  debianPackage: string,
  versionFlag = '--version',
): string | false {
  try {
    execFileSync(program, [versionFlag], { stdio: 'ignore' });
    return false;
  } catch {
    return process.env['CI'] === 'true' ? false : `no ${program} here: apt-get install ${debianPackage}`;
  }
}

export interface RunningServer {
  readonly port: number;
  /** Sends SIGKILL and waits for its end. */
  kill(): Promise<void>;
  /** Starts it again on the same port with what it had on disk. */
  restart(): Promise<void>;
  /** Sends SIGSTOP: the system still accepts connections for it. */
  pause(): void;
  resume(): void;
}

/** `options` go to its command line; it listens at `urls` as well. */
export async function startEtcd(
  t: Test,
  options: readonly string[] = [],
  urls: readonly string[] = [],
): Promise<RunningServer> {
  const [port, peerPort] = [await freePort(), await freePort()];
  const [url, peerUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`];
  return startServer(t, 'etcd', port, [
    ...['--data-dir', await newFolder(t), '--logger', 'zap', '--log-level', 'error'],
    ...['--listen-client-urls', [url, ...urls].join(), '--advertise-client-urls', url],
    ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
    ...['--initial-cluster', `default=${peerUrl}`, ...options],
  ]);
}

/** `options` go to its command line. */
export async function startRedis(t: Test, options: readonly string[] = []): Promise<RunningServer> {
  const port = await freePort();
  const files = ['--save', '', '--appendonly', 'no', '--dir', await newFolder(t)];
  const address = ['--port', String(port), '--bind', '127.0.0.1'];
  return startServer(t, 'redis-server', port, [
    ...address,
    ...files,
    '--notify-keyspace-events',
    'KA',
    ...options,
  ]);
}

/** `output` is called with what it prints. Ends with the test. */
export async function startServer(
  t: Test,
  program: string,
  port: number,
  args: readonly string[],
  output?: (text: string) => void,
): Promise<RunningServer> {
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    child = spawn(program, args, { stdio: ['ignore', output === undefined ? 'ignore' : 'pipe', 'ignore'] });
    child.stdout?.on('data', (piece: Buffer) => output?.(piece.toString()));
    await untilListening(port);
  };
  const kill = async (): Promise<void> => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null) return;
    const exit = once(ending, 'exit');
    ending.kill('SIGKILL');
    await exit;
  };
  t.teardown(kill);
  await start();
  return {
    port,
    kill,
    restart: start,
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
  };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function untilListening(port: number): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const reached = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (reached) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`nothing listens on ${port}`);
}

/** Asks until it is so, for half a minute unless told otherwise. */
export async function until(isSo: () => boolean | Promise<boolean>, mostMs = 30_000): Promise<boolean> {
  for (let waits = 0; waits < mostMs / 20; waits++) {
    if (await isSo()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}
