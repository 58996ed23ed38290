/** The workers of a gateway: one for each core, each replaced when it dies, all told and asked as one. */

import { setTimeout as wait } from 'node:timers/promises';
import type { DataPlanes } from '../control-plane.ts';
import type { ControlEnd } from '../handoff/control-end.ts';
import type { LimitsBackend } from '../limits/limits-backend.ts';
import type { SharedLog } from '../observe/access-log.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { HostPort } from '../policy/gateway-settings.ts';
import type { UpstreamStatus } from '../relay/upstream-pools.ts';
import type { OpenAudit } from '../stream/logs.ts';
import type { Forked } from './fork.ts';
import type { NodeName, WorkerSettings } from './messages.ts';
import { mergedGauges, mergedStatuses } from './node-views.ts';
import { WorkerProcess } from './worker-process.ts';

export interface FleetOptions {
  readonly settings: Omit<WorkerSettings, 'number' | 'addresses' | 'drained'>;
  readonly fork: () => Forked;
  readonly metrics: Metrics;
  /** Tells workers what to decide by. */
  readonly control: Pick<ControlEnd, 'attach'>;
  readonly limits: LimitsBackend;
  readonly audit: OpenAudit | undefined;
  /** Where lines go that workers do not write themselves. */
  readonly accessLog: SharedLog | undefined;
  readonly log: Log;
  /** A worker dies at its start again and again: the fleet is given up, and this is why. */
  readonly onGivenUp: (error: Error) => void;
}

/** A worker that never came up is tried again so often, each time after a longer pause. */
const TRIES = 5;
const PAUSE_MS = 50;
/** For workers to end by themselves when told to stop. */
const STOP_MS = 3000;

export class Fleet implements DataPlanes {
  readonly #options: FleetOptions;
  /** By number; absent while one is being replaced. */
  readonly #workers = new Map<number, WorkerProcess>();
  /** Nodes that whoever is new has to treat as drained too. */
  readonly #drained = new Map<string, NodeName>();
  #addresses: ReadonlyMap<string, HostPort> = new Map();
  /** A process that has loaded all it needs and waits to be a worker: whoever dies is replaced at once. */
  #spare: Forked | undefined;
  #ending = false;
  #onAllEnded: (() => void) | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
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
    return !this.#ending && this.#up.length === this.#options.settings.processes;
  }

  get status(): object {
    const workers = [...this.#workers]
      .sort(([a], [b]) => a - b)
      .map(([number, { pid, generation, isUp }]) => ({
        worker: number,
        pid,
        accepting: isUp,
        generation,
      }));
    return { workers };
  }

  async reloaded(): Promise<void> {
    await Promise.all(this.#up.map((worker) => worker.settled()));
  }

  async observe(): Promise<void> {
    const views = await this.#look();
    this.#options.metrics.nodes(mergedGauges(views.map(({ gauges }) => gauges)));
  }

  async nodes(): Promise<readonly UpstreamStatus[]> {
    const views = await this.#look();
    return mergedStatuses(views.map(({ nodes }) => nodes));
  }

  async setDrained(upstream: string, node: string, drained: boolean): Promise<boolean> {
    const name = { upstream, node };
    const known = await Promise.all(this.#up.map((worker) => worker.setDrained(name, drained)));
    if (!known.includes(true)) return false;
    if (drained) this.#drained.set(JSON.stringify(name), name);
    else this.#drained.delete(JSON.stringify(name));
    return true;
  }

  async drain(): Promise<void> {
    this.#end();
    for (const worker of this.#workers.values()) worker.send({ kind: 'drain' });
    await this.#allEnded();
    await this.#closeLogs();
  }

  stopNow(): void {
    this.#end();
    for (const worker of this.#workers.values()) worker.send({ kind: 'stop' });
    const left = setTimeout(() => {
      for (const worker of this.#workers.values()) worker.kill();
    }, STOP_MS);
    void this.#allEnded().then(() => {
      clearTimeout(left);
      return this.#closeLogs();
    });
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
      const worker = this.#newWorker(number);
      const started = await worker.started;
      if ('addresses' in started) return started.addresses;
      const { reason, told } = started;
      if (this.#ending) break;
      if (told || tries === TRIES) throw new Error(`worker ${number} cannot start: ${reason}`);
      this.#options.log.error({ worker: number, reason }, 'a worker did not start');
      await wait(tries * PAUSE_MS);
    }
    return this.#addresses;
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
      if (this.#spare === spare) this.#spare = undefined;
    });
  }

  #newWorker(number: number): WorkerProcess {
    const { settings, metrics, limits, control, audit, accessLog } = this.#options;
    const drained = [...this.#drained.values()];
    const worker = new WorkerProcess({
      forked: this.#takeProcess(),
      settings: { ...settings, number, addresses: this.#addresses, drained },
      control,
      limits,
      audit: audit?.log,
      series: metrics.merge(),
      onLines: (bytes) => accessLog?.append(bytes),
      onEnd: (reason, wasUp) => this.#onEnd(number, worker, reason, wasUp),
    });
    this.#workers.set(number, worker);
    return worker;
  }

  #onEnd(number: number, worker: WorkerProcess, reason: string, wasUp: boolean): void {
    if (this.#workers.get(number) === worker) this.#workers.delete(number);
    if (this.#workers.size === 0) this.#onAllEnded?.();
    // One that never was up is tried again by whoever waits for it.
    if (this.#ending || !wasUp) return;
    const { log, metrics, onGivenUp } = this.#options;
    metrics.workerRestarted();
    log.error({ worker: number, pid: worker.pid, reason }, 'a worker has ended and is replaced');
    this.#start(number).then(() => this.#prepareSpare(), onGivenUp);
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
