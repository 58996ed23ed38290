/** The primary's side of a worker: its process, its last reports, and requests to it. */

import { setTimeout as wait } from 'node:timers/promises';
import type { AuditLog } from '../audit/audit-log.ts';
import type { ControlEnd } from '../handoff/control-end.ts';
import type { ControlLink } from '../handoff/control-link.ts';
import type { LimitsBackend } from '../limits/limits-backend.ts';
import type { MergedSeries } from '../observe/merged-series.ts';
import type { HostPort } from '../policy/gateway-settings.ts';
import type { Forked } from './fork.ts';
import { LimitDesk } from './limit-desk.ts';
import type { FromWorker, NodeName, ToWorker, WorkerSettings, WorkerView } from './messages.ts';

/** The outcome of a start. `told`: the worker reported why it cannot start; another one could not either. */
export type Started =
  | { readonly addresses: ReadonlyMap<string, HostPort> }
  | { readonly reason: string; readonly told: boolean };

export interface WorkerProcessOptions {
  readonly forked: Forked;
  readonly settings: WorkerSettings;
  /** Sends it the policy and what belongs to it. */
  readonly control: Pick<ControlEnd, 'attach'>;
  readonly limits: LimitsBackend;
  readonly audit: AuditLog | undefined;
  readonly series: MergedSeries;
  readonly onLines: (bytes: Uint8Array) => void;
  /** Called once when it has ended. `ranMs` is how long it took connections; undefined if it never did. */
  readonly onEnd: (reason: string, ranMs: number | undefined) => void;
}

/** How long a scrape waits for a worker; then it uses the worker's last report. */
const LOOK_MS = 1000;
const CHANGE_MS = 10_000;
/** Workers report every second. After more turns than this without a message, the gateway is not ready. */
const QUIET_TURNS = 3;
/** A worker without a message for this many turns is stalled, and killed. */
const SILENT_TURNS = 30;

type Question = { readonly kind: 'look' } | SetDrained;
interface SetDrained {
  readonly kind: 'set-drained';
  readonly name: NodeName;
  readonly drained: boolean;
}

type Answer = Extract<FromWorker, { kind: 'view' | 'drained-set' }>;

export class WorkerProcess {
  readonly pid: number;
  /** Resolves when it takes connections or has failed to start. Never rejects. */
  readonly started: Promise<Started>;
  #upSinceMs: number | undefined;
  /** As last reported. */
  view: WorkerView | undefined;
  readonly #options: WorkerProcessOptions;
  readonly #desk: LimitDesk;
  readonly #link: ControlLink;
  readonly #asked = new Map<number, (answer: Answer | undefined) => void>();
  #lastId = 0;
  #silentTurns = 0;
  /** Why the primary killed it. */
  #fault: string | undefined;
  #settle: (started: Started) => void = () => undefined;

  constructor(options: WorkerProcessOptions) {
    const { forked, settings, limits, control } = options;
    this.#options = options;
    this.pid = forked.pid;
    this.#desk = new LimitDesk(limits, forked.channel.send, (error) => this.#onFault(error));
    this.started = new Promise((resolve) => {
      this.#settle = resolve;
    });
    forked.channel.onMessage((message) => this.#hear(message));
    forked.onEnd((reason) => this.#onEnd(reason));
    this.send({ kind: 'start', settings });
    this.#link = control.attach({ send: (message) => this.send({ kind: 'handed', message }) });
  }

  get isUp(): boolean {
    return this.#upSinceMs !== undefined;
  }

  /** It has sent no message for longer than it should. */
  get isSilent(): boolean {
    return this.#silentTurns > QUIET_TURNS;
  }

  /** The generation of the policy in force in the worker. */
  get generation(): number | undefined {
    return this.#link.generation;
  }

  send(message: ToWorker): void {
    this.#options.forked.channel.send(message);
  }

  kill(): void {
    this.#options.forked.kill();
  }

  /**
   * Called once a second. Kills a stalled worker, since the kernel keeps giving it connections. Turns are counted
   * instead of time, since a primary that was stalled itself has not read the messages of that time yet.
   */
  turn(): void {
    this.#silentTurns += 1;
    if (this.#silentTurns !== SILENT_TURNS) return;
    this.#fault = `killed after ${SILENT_TURNS} s without a message`;
    this.kill();
  }

  /** Resolves when everything in force here is in force there, when it is gone, or after `CHANGE_MS`. */
  async settled(): Promise<void> {
    await Promise.race([this.#link.settled(), wait(CHANGE_MS, undefined, { ref: false })]);
  }

  /** Resolves when its view is up to date, or after `LOOK_MS` without an answer. */
  async look(): Promise<void> {
    await this.#ask({ kind: 'look' });
  }

  /** Resolves when the worker has drained or resumed the node, or does not answer. `isDrained` is asked each time. */
  async setDrained(name: NodeName, isDrained: () => boolean): Promise<void> {
    const answer = await this.#ask({ kind: 'set-drained', name, drained: isDrained() });
    if (answer?.kind !== 'drained-set' || answer.known) return;
    // The policy that names the node is still on its way. `isDrained` is read again, since it may have changed.
    await this.settled();
    await this.#ask({ kind: 'set-drained', name, drained: isDrained() });
  }

  #ask(question: Question): Promise<Answer | undefined> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.send({ ...question, id });
    return new Promise((resolve) => {
      const mostMs = question.kind === 'look' ? LOOK_MS : CHANGE_MS;
      const timer = setTimeout(() => this.#answered(id, undefined), mostMs).unref();
      this.#asked.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
    });
  }

  #answered(id: number, answer: Answer | undefined): void {
    this.#asked.get(id)?.(answer);
    this.#asked.delete(id);
  }

  /** A worker that sends invalid messages is broken and is killed; it must not end the primary. */
  #hear(message: FromWorker): void {
    this.#silentTurns = 0;
    try {
      this.#onMessage(message);
    } catch (error) {
      this.#onFault(error);
    }
  }

  #onFault(error: unknown): void {
    this.#fault ??= `killed for an invalid message: ${String(error)}`;
    this.kill();
  }

  #onMessage(message: FromWorker): void {
    const { onLines, series } = this.#options;
    if (message.kind === 'lines') onLines(message.bytes);
    else if (message.kind === 'series') series.take(message.snapshot);
    else if (message.kind === 'to-control') this.#link.receive(message.message);
    else if (message.kind === 'record') this.#record(message);
    else if (message.kind === 'up' || message.kind === 'failed') this.#onStart(message);
    else if (isAnswer(message)) this.#onAnswer(message);
    else this.#desk.onAsked(message);
  }

  #record({ entry, id }: Extract<FromWorker, { kind: 'record' }>): void {
    const { audit } = this.#options;
    if (id === undefined) audit?.record(entry);
    else audit?.record(entry, (isWritten) => this.send({ kind: 'recorded', id, isWritten }));
  }

  #onStart(message: Extract<FromWorker, { kind: 'up' | 'failed' }>): void {
    if (message.kind === 'failed') {
      this.#settle({ reason: message.reason, told: true });
      this.kill();
      return;
    }
    this.#upSinceMs = performance.now();
    this.#settle({ addresses: message.addresses });
  }

  #onAnswer(answer: Answer): void {
    if (answer.kind === 'view') {
      this.view = answer.view;
      this.#options.series.take(answer.view.snapshot);
    }
    this.#answered(answer.id, answer);
  }

  #onEnd(how: string): void {
    const reason = this.#fault ?? how;
    const ranMs = this.#upSinceMs && performance.now() - this.#upSinceMs;
    this.#upSinceMs = undefined;
    this.#desk.close();
    this.#link.close();
    this.#options.series.end();
    this.#settle({ reason, told: false });
    for (const id of this.#asked.keys()) this.#answered(id, undefined);
    this.#options.onEnd(reason, ranMs);
  }
}

function isAnswer(message: FromWorker): message is Answer {
  return message.kind === 'view' || message.kind === 'drained-set';
}
