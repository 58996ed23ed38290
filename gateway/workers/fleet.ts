/** The worker processes of a gateway, controlled as one; each is replaced when it dies. */

import { setTimeout as wait } from 'node:timers/promises';
import type { DataPlanes } from '../control-plane.ts';
import type { ControlEnd } from '../handoff/control-end.ts';
import type { LimitsBackend } from '../limits/limits-backend.ts';
import type { SharedLog } from '../observe/access-log.ts';
import type { Log } from '../observe/log.ts';
import { LoopDelay } from '../observe/loop-delay.ts';
import type { Metrics } from '../observe/metrics.ts';
import { processUse } from '../observe/process-use.ts';
import type { OpenAudit } from '../open-logs.ts';
import type { HostPort } from '../policy/gateway-settings.ts';
import type { Upstream } from '../policy/upstream.ts';
import type { UpstreamStatus } from '../relay/upstream-pools.ts';
import { DrainedNodes } from './drained-nodes.ts';
import type { Forked } from './fork.ts';
import type { NodeName, WorkerSettings } from './messages.ts';
import { mergedGauges, mergedStatuses } from './node-views.ts';
import { RestartPace } from './restart-pace.ts';
import { WorkerProcess } from './worker-process.ts';

export interface FleetOptions {
  readonly settings: Omit<WorkerSettings, 'number' | 'addresses' | 'drained'>;
  readonly fork: () => Forked;
  readonly metrics: Metrics;
  /** Sends workers the policy and what belongs to it. */
  readonly control: Pick<ControlEnd, 'attach'>;
  /** The upstreams of the policy in force. */
  readonly upstreams: () => readonly Upstream[];
  readonly limits: LimitsBackend;
  readonly audit: OpenAudit | undefined;
  /** Takes lines that workers do not write themselves. */
  readonly accessLog: SharedLog | undefined;
  readonly log: Log;
  /** Longest time a drain may take under the policy in force. */
  readonly drainMs: () => number;
  /** Called with the reason if a worker keeps failing to start: the fleet is given up. */
  readonly onGivenUp: (error: Error) => void;
}

/** Attempts to start a worker, with a longer pause after each. */
const TRIES = 5;
const PAUSE_MS = 50;
/** Time for workers to exit by themselves after a drain or stop; then they are killed. */
const STOP_MS = 3000;
const MAX_TIMER_MS = 2 ** 31 - 1;
const TURN_MS = 1000;

export class Fleet implements DataPlanes {
  readonly #options: FleetOptions;
  /** By number; absent while a worker is being replaced. */
  readonly #workers = new Map<number, WorkerProcess>();
  /** Nodes that new workers must drain too. */
  readonly #drained: DrainedNodes;
  #addresses: ReadonlyMap<string, HostPort> = new Map();
  /** A process that has loaded its code and waits to become a worker, so that a dead one can be replaced at once. */
  #spare: Forked | undefined;
  readonly #pace = new RestartPace();
  readonly #turns: NodeJS.Timeout;
  readonly #loopDelay = new LoopDelay(TURN_MS, performance.now());
  #ending = false;
  #onAllEnded: (() => void) | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#drained = new DrainedNodes(options.upstreams);
    this.#turns = setInterval(() => {
      this.#loopDelay.turn(performance.now());
      for (const worker of this.#workers.values()) worker.turn();
    }, TURN_MS).unref();
  }

  /** The first worker binds the addresses; the others use the same ports. */
  async listen(): Promise<ReadonlyMap<string, HostPort>> {
    this.#addresses = await this.#start(1);
    const { processes } = this.#options.settings;
    const others = Array.from({ length: processes - 1 }, (_, at) => this.#start(at + 2));
    await Promise.all(others);
    this.#prepareSpare();
    return this.#addresses;
  }

  get isAccepting(): boolean {
    const heard = this.#up.filter(({ isSilent }) => !isSilent);
    return !this.#ending && heard.length === this.#options.settings.processes;
  }

  get status(): object {
    const workers = [...this.#workers]
      .sort(([a], [b]) => a - b)
      .map(([number, { pid, generation, isUp, isSilent }]) => ({
        worker: number,
        pid,
        accepting: isUp,
        silent: isSilent,
        generation,
      }));
    return { workers };
  }

  /** Workers get the new policy from `control`, not from here. */
  policyChanged(): void {
    this.#drained.policyChanged();
  }

  async reloaded(): Promise<void> {
    await Promise.all(this.#up.map((worker) => worker.settled()));
  }

  async observe(): Promise<void> {
    const views = await this.#look();
    const { metrics } = this.#options;
    metrics.nodes(mergedGauges(views.map(({ gauges }) => gauges)));
    metrics.processState(0, { loopDelaySeconds: this.#loopDelay.longestSeconds, use: processUse() });
  }

  async nodes(): Promise<readonly UpstreamStatus[]> {
    const views = await this.#look();
    return mergedStatuses(views.map(({ nodes }) => nodes));
  }

  async setDrained(upstream: string, node: string, drained: boolean): Promise<boolean> {
    const name = { upstream, node };
    // First, for a worker that comes up while the others are asked.
    if (!this.#drained.set(name, drained)) return false;
    await Promise.all(this.#up.map((worker) => this.#tellDrained(worker, name)));
    return true;
  }

  async drain(): Promise<void> {
    this.#end();
    for (const worker of this.#workers.values()) worker.send({ kind: 'drain' });
    await this.#ended(this.#options.drainMs() + STOP_MS);
  }

  stopNow(): void {
    this.#end();
    for (const worker of this.#workers.values()) worker.send({ kind: 'stop' });
    void this.#ended(STOP_MS);
  }

  /** Resolves when no worker is left and the logs are closed. Workers that still run after `withinMs` are killed. */
  async #ended(withinMs: number): Promise<void> {
    const left = setTimeout(
      () => {
        for (const worker of this.#workers.values()) worker.kill();
      },
      Math.min(withinMs, MAX_TIMER_MS),
    );
    await this.#allEnded();
    clearTimeout(left);
    clearInterval(this.#turns);
    await this.#closeLogs();
  }

  /** Called when all workers have ended, so that everything they sent is written. */
  async #closeLogs(): Promise<void> {
    const { accessLog, audit } = this.#options;
    await Promise.all([accessLog?.close(), audit?.close()]);
  }

  #end(): void {
    this.#ending = true;
    this.#spare?.kill();
  }

  get #up(): readonly WorkerProcess[] {
    return [...this.#workers.values()].filter(({ isUp }) => isUp);
  }

  async #look() {
    await Promise.all(this.#up.map((worker) => worker.look()));
    return this.#up.flatMap(({ view }) => view ?? []);
  }

  /** Resolves when the worker of that number takes connections. Rejects if it cannot be started. */
  async #start(number: number): Promise<ReadonlyMap<string, HostPort>> {
    for (let tries = 1; !this.#ending; tries += 1) {
      const { names } = this.#drained;
      const worker = this.#newWorker(number);
      const started = await worker.started;
      if ('addresses' in started) {
        for (const name of this.#drained.changedSince(names)) void this.#tellDrained(worker, name);
        return started.addresses;
      }
      const { reason, told } = started;
      if (this.#ending) break;
      // If other workers are up, this one can start too once the obstacle is gone.
      const isHopeless = told && this.#up.length === 0;
      if (isHopeless || tries === TRIES) throw new Error(`worker ${number} cannot start: ${reason}`);
      this.#options.log.error({ worker: number, reason }, 'worker did not start, retrying');
      await wait(tries * PAUSE_MS);
    }
    return this.#addresses;
  }

  #tellDrained(worker: WorkerProcess, name: NodeName): Promise<void> {
    return worker.setDrained(name, () => this.#drained.has(name));
  }

  #takeProcess(): Forked {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare ?? this.#options.fork();
  }

  #prepareSpare(): void {
    if (this.#ending || this.#spare !== undefined) return;
    const spare = this.#options.fork();
    this.#spare = spare;
    spare.onEnd(() => {
      if (this.#spare !== spare) return;
      this.#spare = undefined;
      setTimeout(() => this.#prepareSpare(), TURN_MS).unref();
    });
  }

  #newWorker(number: number): WorkerProcess {
    const { settings, metrics, limits, control, audit, accessLog } = this.#options;
    const drained = [...this.#drained.names.values()];
    const worker = new WorkerProcess({
      forked: this.#takeProcess(),
      settings: { ...settings, number, addresses: this.#addresses, drained },
      control,
      limits,
      audit: audit?.log,
      series: metrics.merge(),
      onLines: (bytes) => accessLog?.append(bytes),
      onEnd: (reason, ranMs) => this.#onEnd(number, worker, reason, ranMs),
    });
    this.#workers.set(number, worker);
    return worker;
  }

  #onEnd(number: number, worker: WorkerProcess, reason: string, ranMs: number | undefined): void {
    if (this.#workers.get(number) === worker) this.#workers.delete(number);
    if (this.#workers.size === 0) this.#onAllEnded?.();
    // `#start` retries a worker that never came up.
    if (this.#ending || ranMs === undefined) return;
    const { log, metrics, onGivenUp } = this.#options;
    metrics.workerRestarted();
    const pauseMs = this.#pace.pauseMs(ranMs, performance.now());
    const told = { worker: number, pid: worker.pid, reason, ...(pauseMs > 0 && { pauseMs }) };
    log.error(told, 'worker ended, replacing it');
    this.#replace(number, pauseMs).catch(onGivenUp);
  }

  async #replace(number: number, pauseMs: number): Promise<void> {
    if (pauseMs > 0) await wait(pauseMs);
    await this.#start(number);
    this.#prepareSpare();
  }

  #allEnded(): Promise<void> {
    if (this.#workers.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const before = this.#onAllEnded;
      this.#onAllEnded = () => {
        before?.();
        resolve();
      };
    });
  }
}
