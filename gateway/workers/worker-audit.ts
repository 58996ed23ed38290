/** The audit log of a worker: sends entries to the primary, which writes the file. */

import type { AuditLog } from '../audit/audit-log.ts';
import type { AuditEntry } from '../audit/entry.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { WorkerEnd } from './messages.ts';
import { Pending } from './pending.ts';

/** Limit on entries not yet taken by the primary, a few KiB each; further ones are lost. */
const MAX_UNSENT = 4096;

export class WorkerAudit implements AuditLog {
  readonly isRequired: boolean;
  readonly #channel: WorkerEnd;
  readonly #metrics: Pick<Metrics, 'auditLines'>;
  readonly #pending = new Pending<boolean>();
  #unsent = 0;
  /** Entries lost since the last one that was sent. */
  #lost = 0;

  constructor(channel: WorkerEnd, isRequired: boolean, metrics: Pick<Metrics, 'auditLines'>) {
    this.#channel = channel;
    this.isRequired = isRequired;
    this.#metrics = metrics;
  }

  record(entry: AuditEntry, onSettled?: (isWritten: boolean) => void): void {
    if (this.#unsent >= MAX_UNSENT) {
      this.#lost += 1;
      this.#metrics.auditLines('lost', 1);
      onSettled?.(false);
      return;
    }
    if (this.#lost > 0) this.#tellLost();
    const settle = onSettled && ((isWritten: boolean | undefined) => onSettled(isWritten === true));
    const id = settle && this.#pending.ask(performance.now(), settle);
    this.#send(entry, id);
  }

  onRecorded(id: number, isWritten: boolean): void {
    this.#pending.answer(id, isWritten);
  }

  /** Stops waiting for entries recorded too long ago: they count as not written. */
  giveUp(nowMs: number): void {
    this.#pending.giveUp(nowMs);
  }

  #tellLost(): void {
    const note = `a worker could not hand on its lines; ${this.#lost} lines were given up`;
    this.#lost = 0;
    this.#send({ event: 'resumed', timeMs: Date.now(), note }, undefined);
  }

  #send(entry: AuditEntry, id: number | undefined): void {
    this.#unsent += 1;
    this.#channel.send({ kind: 'record', entry, id }, () => {
      this.#unsent -= 1;
      // Nothing may be recorded after this; while more is unsent, there will be another turn.
      if (this.#lost > 0 && this.#unsent === 0) this.#tellLost();
    });
  }
}
