/** A worker: one data plane in its own process, controlled by the primary, which sends it the policy. */

import { messageOf } from '../core/error-text.ts';
import { DataPlane } from '../data-plane.ts';
import { createRecordMemory } from '../edge/record-memory.ts';
import { DataEnd } from '../handoff/data-end.ts';
import { createLog, type Log } from '../observe/log.ts';
import { createMetrics, type Metrics } from '../observe/metrics.ts';
import { processUse } from '../observe/process-use.ts';
import { logsOf, openAccessLog } from '../open-logs.ts';
import { ChannelOutput } from './channel-output.ts';
import type { ToWorker, WorkerEnd, WorkerSettings, WorkerView } from './messages.ts';
import { WorkerAudit } from './worker-audit.ts';
import { WorkerLimits } from './worker-limits.ts';

/** How often metrics are sent unasked and unanswered questions are checked for timeout. */
const TURN_MS = 1000;

/** Runs until the primary ends it. `exit` ends the process; `tidy` is called before it takes connections. */
export function runWorker(channel: WorkerEnd, exit: () => void, tidy?: () => void): void {
  let worker: Worker | undefined;
  channel.onMessage((message) => {
    if (message.kind === 'start') {
      worker = new Worker(channel, message.settings, exit);
      worker
        .start(tidy)
        .catch((error: unknown) => channel.send({ kind: 'failed', reason: messageOf(error) }));
    } else if (worker !== undefined) worker.onMessage(message);
    else if (message.kind === 'drain' || message.kind === 'stop') exit();
  });
}

class Worker {
  readonly #channel: WorkerEnd;
  readonly #settings: WorkerSettings;
  readonly #exit: () => void;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #limits: WorkerLimits;
  readonly #audit: WorkerAudit | undefined;
  readonly #sources: DataEnd;
  /** Set once it takes connections. */
  #plane: DataPlane | undefined;
  /** Metrics were sent that the primary has not taken yet. */
  #isTelling = false;

  constructor(channel: WorkerEnd, settings: WorkerSettings, exit: () => void) {
    this.#channel = channel;
    this.#settings = settings;
    this.#exit = exit;
    this.#log = createLog('info', undefined, { worker: settings.number });
    this.#metrics = createMetrics({});
    this.#limits = new WorkerLimits(channel);
    this.#audit = settings.audit && new WorkerAudit(channel, settings.audit.isRequired, this.#metrics);
    this.#sources = new DataEnd({
      channel: { send: (message) => channel.send({ kind: 'to-control', message }) },
      onFault: (fault) => this.#onFault(fault),
    });
    setInterval(() => this.#turn(), TURN_MS).unref();
  }

  /** What is in force stays. Without a running data plane the worker has failed, since there may never be a policy. */
  #onFault(fault: string): void {
    this.#log.error({ fault }, 'cannot use an update from the primary, keeping the previous state');
    if (this.#plane === undefined) this.#channel.send({ kind: 'failed', reason: fault });
  }

  /** Resolves when it takes connections. Rejects if it cannot. */
  async start(tidy?: () => void): Promise<void> {
    const { processes, readsInPlace, drained, addresses: at, reusePort } = this.#settings;
    const policy = await this.#sources.started;
    const plane = new DataPlane({
      sources: this.#sources,
      metrics: this.#metrics,
      limits: this.#limits,
      log: this.#log,
      logs: logsOf(openAccessLog(this.#lineOutput(policy.gateway.accessLog), this.#log), this.#openAudit()),
      ticketSecret: this.#sources.ticketSecret,
      memory: readsInPlace ? await createRecordMemory(this.#log) : undefined,
      processes,
    });
    for (const { upstream, node } of drained) plane.setDrained(upstream, node, true);
    tidy?.();
    const addresses = await plane.listen({ at, reusePort });
    this.#plane = plane;
    this.#channel.send({ kind: 'up', addresses });
  }

  onMessage(message: Exclude<ToWorker, { kind: 'start' }>): void {
    if (message.kind === 'handed') this.#sources.receive(message.message);
    else if (message.kind === 'claimed' || message.kind === 'spent') this.#limits.onGiven(message);
    else if (message.kind === 'recorded') this.#audit?.onRecorded(message.id, message.isWritten);
    else if (this.#plane !== undefined) this.#obey(message, this.#plane);
    else if (message.kind === 'drain' || message.kind === 'stop') this.#exit();
  }

  #obey(
    order: Extract<ToWorker, { kind: 'look' | 'set-drained' | 'drain' | 'stop' }>,
    plane: DataPlane,
  ): void {
    if (order.kind === 'look') {
      this.#channel.send({ kind: 'view', id: order.id, view: this.#view(plane) });
    } else if (order.kind === 'set-drained') {
      const known = plane.setDrained(order.name.upstream, order.name.node, order.drained);
      this.#channel.send({ kind: 'drained-set', id: order.id, known });
    } else void this.#end(order.kind, plane);
  }

  #lineOutput(file: string): string | ChannelOutput {
    return file === '-' ? new ChannelOutput(this.#channel) : file;
  }

  /** The primary closes the file. */
  #openAudit() {
    return this.#audit && { log: this.#audit, close: async (): Promise<void> => undefined };
  }

  #view(plane: DataPlane): WorkerView {
    const { loopDelaySeconds } = plane;
    this.#metrics.processState(this.#settings.number, { loopDelaySeconds, use: processUse() });
    return { snapshot: this.#metrics.snapshot(), nodes: plane.nodes, gauges: plane.nodeGauges };
  }

  #turn(): void {
    const nowMs = performance.now();
    this.#limits.giveUp(nowMs);
    this.#audit?.giveUp(nowMs);
    if (this.#isTelling) return;
    this.#isTelling = true;
    this.#tellSeries(() => {
      this.#isTelling = false;
    });
  }

  #tellSeries(onSent: () => void): void {
    this.#channel.send({ kind: 'series', snapshot: this.#metrics.snapshot() }, onSent);
  }

  /** `stop` also cuts short a drain in progress. Either way the process exits once the drain has finished. */
  async #end(how: 'drain' | 'stop', plane: DataPlane): Promise<void> {
    if (how === 'stop') plane.stopNow();
    await plane.drain();
    this.#sources.close();
    this.#tellSeries(this.#exit);
  }
}
