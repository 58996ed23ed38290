/** The workers of a gateway: one for each core, each replaced when it dies, all told and asked as one. */

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
  /** Tells workers what to decide by. */
  readonly control: Pick<ControlEnd, 'attach'>;
  /** Of the policy in force. */
  readonly upstreams: () => readonly Upstream[];
  readonly limits: LimitsBackend;
  readonly audit: OpenAudit | undefined;
  /** Where lines go that workers do not write themselves. */
  readonly accessLog: SharedLog | undefined;
  readonly log: Log;
  /** How long a drain takes at most, by the policy in force. */
  readonly drainMs: () => number;
  /** A worker dies at its start again and again: the fleet is given up, and this is why. */
  readonly onGivenUp: (error: Error) => void;
}

/** A worker that never came up is tried again so often, each time after a longer pause. */
const TRIES = 5;
const PAUSE_MS = 50;
/** For workers to end by themselves when they should have. */
const STOP_MS = 3000;
const MAX_TIMER_MS = 2 ** 31 - 1;
const TURN_MS = 1000;

export class Fleet implements DataPlanes {
  readonly #options: FleetOptions;
  /** By number; absent while one is being replaced. */
  readonly #workers = new Map<number, WorkerProcess>();
  /** Nodes that whoever is new has to treat as drained too. */
  readonly #drained: DrainedNodes;
  #addresses: ReadonlyMap<string, HostPort> = new Map();
  /** A process that has loaded all it needs and waits to be a worker: whoever dies is replaced at once. */
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

  /** The first one finds the addresses for all. */
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

  /** Another policy is in force here; workers are told elsewhere. */
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
    // First, for one that comes up while the others are told.
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

  /** Resolves when no worker is left and the logs are closed; those that have not ended by then are killed. */
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

  /** What the workers have told to its end goes before. */
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

  /** Resolves when one of that number takes connections. Rejects when it will not. */
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
      // What others do already one more will, once whatever is in its way is gone.
      const isHopeless = told && this.#up.length === 0;
      if (isHopeless || tries === TRIES) throw new Error(`worker ${number} cannot start: ${reason}`);
      this.#options.log.error({ worker: number, reason }, 'a worker did not start');
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
    // One that never was up is tried again by whoever waits for it.
    if (this.#ending || ranMs === undefined) return;
    const { log, metrics, onGivenUp } = this.#options;
    metrics.workerRestarted();
    const pauseMs = this.#pace.pauseMs(ranMs, performance.now());
    const told = { worker: number, pid: worker.pid, reason, ...(pauseMs > 0 && { pauseMs }) };
    log.error(told, 'a worker has ended and is replaced');
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
