/** A worker as its primary knows it: what it said last, and what it is asked. */

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

/** What came of a start. `told`: the worker said itself that it cannot; another one could not either. */
export type Started =
  | { readonly addresses: ReadonlyMap<string, HostPort> }
  | { readonly reason: string; readonly told: boolean };

export interface WorkerProcessOptions {
  readonly forked: Forked;
  readonly settings: WorkerSettings;
  /** Tells it what to decide by. */
  readonly control: Pick<ControlEnd, 'attach'>;
  readonly limits: LimitsBackend;
  readonly audit: AuditLog | undefined;
  readonly series: MergedSeries;
  readonly onLines: (bytes: Uint8Array) => void;
  /** It has ended: told once, with how long it took connections, or nothing where it never did. */
  readonly onEnd: (reason: string, ranMs: number | undefined) => void;
}

/** How long a worker is waited for: a scrape goes on with what one told last. */
const LOOK_MS = 1000;
const CHANGE_MS = 10_000;
/** A worker tells its numbers every second: for one that says nothing for more turns than these nobody should be sent here. */
const QUIET_TURNS = 3;
/** One that says nothing for so many stands still. */
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
  /** Settled when it takes connections, or cannot. */
  readonly started: Promise<Started>;
  #upSinceMs: number | undefined;
  /** As it last told. */
  view: WorkerView | undefined;
  readonly #options: WorkerProcessOptions;
  readonly #desk: LimitDesk;
  readonly #link: ControlLink;
  readonly #asked = new Map<number, (answer: Answer | undefined) => void>();
  #lastId = 0;
  #silentTurns = 0;
  /** Why it was killed. */
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

  /** It has said nothing for longer than it should. */
  get isSilent(): boolean {
    return this.#silentTurns > QUIET_TURNS;
  }

  /** Of the policy it decides by. */
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
   * Once a second: one that stands still is killed, for it is given connections all the same. Turns are counted, since a
   * primary that stood still itself has the messages of that time yet to read.
   */
  turn(): void {
    this.#silentTurns += 1;
    if (this.#silentTurns !== SILENT_TURNS) return;
    this.#fault = `it has said nothing for ${SILENT_TURNS} s`;
    this.kill();
  }

  /** Resolves when it decides by all that is in force here, is gone, or does not answer. */
  async settled(): Promise<void> {
    await Promise.race([this.#link.settled(), wait(CHANGE_MS, undefined, { ref: false })]);
  }

  /** Its view is as of now when this resolves, unless it does not answer. */
  async look(): Promise<void> {
    await this.#ask({ kind: 'look' });
  }

  /** Resolves when the node is there as it is here, unless it does not answer. `isDrained`: what holds when it is asked. */
  async setDrained(name: NodeName, isDrained: () => boolean): Promise<void> {
    const answer = await this.#ask({ kind: 'set-drained', name, drained: isDrained() });
    if (answer?.kind !== 'drained-set' || answer.known) return;
    // The policy that names it is still on its way. What was said of the node meanwhile counts.
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

  /** A process that says what cannot be is in no state to go on, and no reason for this one to end. */
  #hear(message: FromWorker): void {
    this.#silentTurns = 0;
    try {
      this.#onMessage(message);
    } catch (error) {
      this.#onFault(error);
    }
  }

  #onFault(error: unknown): void {
    this.#fault ??= `it said what cannot be: ${String(error)}`;
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
    this.#settle({ reason: this.#fault ?? `it ended ${how}`, told: false });
    for (const id of this.#asked.keys()) this.#answered(id, undefined);
    this.#options.onEnd(reason, ranMs);
  }
}

function isAnswer(message: FromWorker): message is Answer {
  return message.kind === 'view' || message.kind === 'drained-set';
}
