/** What the requests of a connection show about its node: whether it is waited for, and how it answered. */

import { type Deadlines, Expiring } from '../core/deadlines.ts';

/** Records what requests show about a node. The watch identifies the request it watches. */
export interface NodeRecord {
  entered(request: RequestWatch): void;
  /** The node owes one more first byte, or one less. */
  owes(change: 1 | -1): void;
  /** The response begins, with a status below 500. */
  answered(request: RequestWatch): void;
  /** The response, with a status below 500, ended as it should. */
  ended(): void;
  failed(request: RequestWatch, reason: string): void;
  /** The request was given up, and the node is not to blame. */
  left(request: RequestWatch): void;
}

const SERVER_ERROR = 500;
/** The gateway itself ran out of descriptors, ports or memory: not the node's fault. */
const OWN_FAULTS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/**
 * One for each connection, for one request after another. Each request is reported as answered or failed at most once,
 * and once more as failed if it breaks off after the answer began.
 */
export class RequestWatch extends Expiring {
  readonly #record: NodeRecord;
  readonly #deadlines: Deadlines;
  readonly #patienceMs: number;
  #running = false;
  #owed = false;
  #answered = false;
  #failed = false;

  /** A node waited for longer than `patienceMs` has failed. */
  constructor(record: NodeRecord, deadlines: Deadlines, patienceMs: number) {
    super();
    this.#record = record;
    this.#deadlines = deadlines;
    this.#patienceMs = patienceMs;
  }

  /** The node took too long to answer, which counts as a failure. */
  get isLate(): boolean {
    return this.#running && this.#failed && !this.#answered;
  }

  /** A request takes the connection. `isMade`: it is already established. */
  taken(isMade: boolean): void {
    this.#running = true;
    this.#answered = false;
    this.#failed = false;
    this.#record.entered(this);
    this.#owe(true);
    if (!isMade) this.#deadlines.arm(this, this.#patienceMs);
  }

  /** The head is sent. While a body flows, the node is not the one waited for. */
  begun(hasBody: boolean): void {
    if (!hasBody) {
      this.#deadlines.arm(this, this.#patienceMs);
      return;
    }
    this.#owe(false);
    this.#deadlines.disarm(this);
  }

  /** The body is sent. The node is waited for again, but without a time limit: processing may take long. */
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

  /** The node is no longer waited for. */
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
