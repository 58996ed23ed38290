/** The audit log as a worker knows it: its primary has the file. */

import type { AuditLog } from '../audit/audit-log.ts';
import type { AuditEntry } from '../audit/entry.ts';
import type { WorkerEnd } from './messages.ts';
import { Pending } from './pending.ts';

export class WorkerAudit implements AuditLog {
  readonly isRequired: boolean;
  readonly #channel: WorkerEnd;
  readonly #pending = new Pending<boolean>();

  constructor(channel: WorkerEnd, isRequired: boolean) {
    this.#channel = channel;
    this.isRequired = isRequired;
  }

  record(entry: AuditEntry, onSettled?: (isWritten: boolean) => void): void {
    const settle = onSettled && ((isWritten: boolean | undefined) => onSettled(isWritten === true));
    const id = settle && this.#pending.ask(performance.now(), settle);
    this.#channel.send({ kind: 'record', entry, id });
  }

  onRecorded(id: number, isWritten: boolean): void {
    this.#pending.answer(id, isWritten);
  }

  /** Of what was asked too long ago. */
  giveUp(nowMs: number): void {
    this.#pending.giveUp(nowMs);
  }
}
