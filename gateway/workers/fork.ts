/** Starts the process of a worker. */

import cluster, { type Worker } from 'node:cluster';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromWorker, PrimaryEnd, ToWorker } from './messages.ts';

export interface Forked {
  readonly pid: number;
  readonly channel: PrimaryEnd;
  /** Calls `hear` once with how the process ended, or why it could not be created. To be set right after the fork. */
  onEnd(hear: (reason: string) => void): void;
  /** Sends SIGKILL. */
  kill(): void;
}

/**
 * Works from the sources and from the build. `node:cluster` is used because it passes listening sockets to workers
 * where they cannot all bind the address themselves; otherwise they are ordinary child processes.
 */
export function forkWorker(): Forked {
  const exec = fileURLToPath(new URL(`./worker-entry${extname(import.meta.filename)}`, import.meta.url));
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ exec, args: [], serialization: 'advanced' });
  const worker = cluster.fork();
  const child = worker.process;
  // A failed send means that the process has ended, which `onEnd` reports.
  worker.on('error', () => undefined);
  return {
    pid: child.pid ?? 0,
    channel: {
      send: (message: ToWorker, onSent) => send(worker, message, onSent),
      onMessage: (hear) => void worker.on('message', (message: FromWorker) => hear(message)),
    },
    onEnd: (hear) => {
      worker.once('exit', (code, signal) =>
        hear(signal ? `killed by ${signal}` : `exited with status ${code}`),
      );
      // If the system has no process or descriptor left, there is no child that could exit.
      if (child.pid === undefined)
        child.once('error', ({ message }) => hear(`process not created: ${message}`));
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

function send(worker: Worker, message: ToWorker, onSent: (() => void) | undefined): void {
  if (worker.isConnected()) worker.send(message, undefined, () => onSent?.());
}
