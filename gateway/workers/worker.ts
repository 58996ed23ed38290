/** A worker: one data plane in a process of its own, told by the primary what to do. */

import { DataPlane, recordMemory } from '../data-plane.ts';
import { createAccessLog } from '../observe/access-log.ts';
import { createLog, type Log } from '../observe/log.ts';
import { createMetrics, type Metrics } from '../observe/metrics.ts';
import { ChannelOutput } from './channel-output.ts';
import type { ToWorker, WorkerEnd, WorkerSettings, WorkerView } from './messages.ts';
import { WorkerLimits } from './worker-limits.ts';
import { openSources, type WorkerSources } from './worker-sources.ts';

/** How often its numbers are sent unasked. */
const SERIES_MS = 1000;

/** Runs until told to end; `exit` ends the process. */
export function runWorker(channel: WorkerEnd, exit: () => void): void {
  const limits = new WorkerLimits(channel);
  let worker: Worker | undefined;
  channel.onMessage((message) => {
    if (message.kind === 'start') {
      startWorker(channel, limits, message.settings, exit).then(
        (started) => {
          worker = started;
        },
        (error: unknown) => channel.send({ kind: 'failed', reason: reasonOf(error) }),
      );
    } else if (message.kind === 'claimed' || message.kind === 'spent') limits.onGiven(message);
    else if (worker !== undefined) void worker.obey(message);
    else if (message.kind === 'drain' || message.kind === 'stop') exit();
  });
}

async function startWorker(
  channel: WorkerEnd,
  limits: WorkerLimits,
  settings: WorkerSettings,
  exit: () => void,
): Promise<Worker> {
  const log = createLog('info', undefined, { worker: settings.number });
  const metrics = createMetrics({});
  const sources = await openSources(settings, log, metrics);
  const plane = new DataPlane({
    sources,
    metrics,
    limits,
    log,
    accessLog: accessLogOf(sources.policy().gateway.accessLog, channel, log),
    ticketSecret: Buffer.from(settings.ticketSecret),
    memory: await recordMemory(settings.readsInPlace, log),
    processes: settings.processes,
  });
  for (const { upstream, node } of settings.drained) plane.setDrained(upstream, node, true);
  const addresses = await plane.listen({ at: settings.addresses, reusePort: settings.reusePort });
  const worker = new Worker({ channel, sources, plane, metrics, exit });
  channel.send({ kind: 'up', addresses, generation: sources.policy().generation });
  return worker;
}

function accessLogOf(file: string, channel: WorkerEnd, log: Log) {
  return createAccessLog({
    file: file === '-' ? new ChannelOutput(channel) : file,
    onFault: (error) => log.error({ error: error.message }, 'the access log cannot be written'),
  });
}

interface WorkerParts {
  readonly channel: WorkerEnd;
  readonly sources: WorkerSources;
  readonly plane: DataPlane;
  readonly metrics: Metrics;
  readonly exit: () => void;
}

/** A worker that takes connections. */
class Worker {
  readonly #parts: WorkerParts;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
    setInterval(() => this.#tellSeries(), SERIES_MS).unref();
  }

  async obey(order: Exclude<ToWorker, { kind: 'start' | 'claimed' | 'spent' }>): Promise<void> {
    const { channel, plane, sources } = this.#parts;
    if (order.kind === 'look') channel.send({ kind: 'view', id: order.id, view: this.#view() });
    else if (order.kind === 'set-drained') {
      const known = plane.setDrained(order.name.upstream, order.name.node, order.drained);
      channel.send({ kind: 'drained-set', id: order.id, known });
    } else if (order.kind === 'reload') {
      await sources.reload();
      channel.send({ kind: 'reloaded', id: order.id, generation: sources.policy().generation });
    } else await this.#end(order.kind);
  }

  #view(): WorkerView {
    const { plane, metrics } = this.#parts;
    return { snapshot: metrics.snapshot(), nodes: plane.nodes, gauges: plane.nodeGauges };
  }

  #tellSeries(onSent?: () => void): void {
    const { channel, metrics } = this.#parts;
    channel.send({ kind: 'series', snapshot: metrics.snapshot() }, onSent);
  }

  /** A drain that is told to stop ends at once, and only the drain then ends the process. */
  async #end(how: 'drain' | 'stop'): Promise<void> {
    const { plane, exit } = this.#parts;
    if (how === 'stop') plane.stopNow();
    await plane.drain();
    this.#tellSeries(exit);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
