/** What a connection's request tells of its node: whether the node is waited for, and what came of it. */

import { type Deadlines, Expiring } from '../core/deadlines.ts';

/** Keeps what requests tell of a node; the watch stands for the request it watches. */
export interface NodeRecord {
  entered(request: RequestWatch): void;
  /** The node owes one first byte more, or less. */
  owes(change: 1 | -1): void;
  /** The response begins, and is none of a failed server. */
  answered(request: RequestWatch): void;
  /** The response ended as it should. */
  ended(): void;
  failed(request: RequestWatch, reason: string): void;
  /** Given up, and the node is not to blame. */
  left(request: RequestWatch): void;
}

const SERVER_ERROR = 500;
/** The gateway has no more sockets, ports or memory for them: no fault of the node. */
const OWN_FAULTS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/**
 * One a connection, for one request after the other. A request is told of as answered or failed once at most, and once
 * more where it breaks off behind its answer.
 */
export class RequestWatch extends Expiring {
  readonly #record: NodeRecord;
  readonly #deadlines: Deadlines;
  readonly #patienceMs: number;
  #running = false;
  #owed = false;
  #answered = false;
  #failed = false;

  /** `patienceMs`: who is waited for so long has failed. */
  constructor(record: NodeRecord, deadlines: Deadlines, patienceMs: number) {
    super();
    this.#record = record;
    this.#deadlines = deadlines;
    this.#patienceMs = patienceMs;
  }

  /** The node was waited for too long, and has failed. */
  get isLate(): boolean {
    return this.#running && this.#failed && !this.#answered;
  }

  /** The connection is a request's, once it is made. */
  taken(isMade: boolean): void {
    this.#running = true;
    this.#answered = false;
    this.#failed = false;
    this.#record.entered(this);
    this.#owe(true);
    if (!isMade) this.#deadlines.arm(this, this.#patienceMs);
  }

  /** The head is sent. While a body flows it is not the node that is waited for. */
  begun(hasBody: boolean): void {
    if (!hasBody) {
      this.#deadlines.arm(this, this.#patienceMs);
      return;
    }
    this.#owe(false);
    this.#deadlines.disarm(this);
  }

  /** The body is sent: what the node does with it may take its time, but it is waited for. */
  sentWhole(): void {
    if (this.#running && !this.#answered) this.#owe(true);
  }

  answer(status: number): void {
    if (!this.#running) return;
    this.#answered = true;
    this.#settle();
    if (this.#failed) return;
    if (status < SERVER_ERROR) this.#record.answered(this);
    else this.#fail(`status ${status}`);
  }

  end(): void {
    if (!this.#running) return;
    this.#running = false;
    if (!this.#failed) this.#record.ended();
  }

  break(reason: string): void {
    if (!this.#running) return;
    this.#running = false;
    this.#settle();
    if (this.#failed) return;
    if (OWN_FAULTS.has(reason)) this.#record.left(this);
    else this.#fail(reason);
  }

  giveUp(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#settle();
    if (!this.#answered && !this.#failed) this.#record.left(this);
  }

  override expire(): void {
    if (!this.#failed) this.#fail('no answer in time');
  }

  #fail(reason: string): void {
    this.#failed = true;
    this.#record.failed(this, reason);
  }

  /** The node is not waited for any more. */
  #settle(): void {
    this.#deadlines.disarm(this);
    this.#owe(false);
  }

  #owe(owed: boolean): void {
    if (this.#owed === owed) return;
    this.#owed = owed;
    this.#record.owes(owed ? 1 : -1);
  }
}
