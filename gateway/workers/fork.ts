/** Begins the process of a worker. */

import cluster, { type Worker } from 'node:cluster';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromWorker, PrimaryEnd, ToWorker } from './messages.ts';

/** A process that was begun. */
export interface Forked {
  readonly pid: number;
  readonly channel: PrimaryEnd;
  /** How it ended, in words: told once, also where it could not be begun. To be named at once. */
  onEnd(hear: (reason: string) => void): void;
  /** Ends it at once, whatever it does. */
  kill(): void;
}

/**
 * From sources and from what is built of them alike. The cluster of Node is what hands a listening socket to workers
 * where they cannot bind the address each for itself; otherwise these are children like any.
 */
export function forkWorker(): Forked {
  const exec = fileURLToPath(new URL(`./worker-entry${extname(import.meta.filename)}`, import.meta.url));
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ exec, args: [], serialization: 'advanced' });
  const worker = cluster.fork();
  const child = worker.process;
  // What cannot be sent any more is told by its end.
  worker.on('error', () => undefined);
  return {
    pid: child.pid ?? 0,
    channel: {
      send: (message: ToWorker, onSent) => send(worker, message, onSent),
      onMessage: (hear) => void worker.on('message', (message: FromWorker) => hear(message)),
    },
    onEnd: (hear) => {
      worker.once('exit', (code, signal) => hear(signal ? `by ${signal}` : `with status ${code}`));
      // Where the system has no process or no descriptor left there is none that could exit.
      if (child.pid === undefined) child.once('error', ({ message }) => hear(`before it began: ${message}`));
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

function send(worker: Worker, message: ToWorker, onSent: (() => void) | undefined): void {
  if (worker.isConnected()) worker.send(message, undefined, () => onSent?.());
}
