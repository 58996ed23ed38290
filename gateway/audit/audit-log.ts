/** The audit log: chains, writes and syncs entries in groups, and reports whether an awaited entry is on disk. */

import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../core/error-text.ts';
import { MIB } from '../core/units.ts';
import type { AuditFile } from './audit-file.ts';
import type { ChainHead } from './chain.ts';
import { type AuditEntry, entryBody } from './entry.ts';

/** The audit log as the gateway uses it. An entry is plain data, so that a worker can send it to the primary. */
export interface AuditLog {
  /**
   * Adds a line; never throws or blocks. `onSettled` is called once, with whether the line is on disk. If it cannot be
   * written now, a line with `onSettled` is dropped, and any other is retried.
   */
  record(entry: AuditEntry, onSettled?: (isWritten: boolean) => void): void;
  /** Nothing of a request goes to a node before its line is on disk; if that fails, the request is refused. */
  readonly isRequired: boolean;
}

export interface FileAuditLogOptions {
  readonly file: Pick<AuditFile, 'append' | 'head' | 'close'>;
  readonly isRequired: boolean;
  readonly nowMs?: () => number;
  /** Characters of lines that may wait for a stalled disk; further lines are dropped and counted. */
  readonly mostWaitingBytes?: number;
  /** Called with the number of lines that are on disk, or were dropped. */
  readonly onLines?: (outcome: 'written' | 'lost', lines: number) => void;
  /** Called with the reason when lines cannot be written or the reason changes; with undefined once they can again. */
  readonly onFault?: (problem: string | undefined) => void;
  /** Called with the head of the chain each minute it has moved, and on close: a copy of it reveals a truncated log. */
  readonly onHead?: (head: ChainHead) => void;
}

const RETRY_MS = 1000;
/** A write that takes longer is reported as a fault. */
const STALL_MS = 5000;
const HEAD_MS = 60_000;
const CLOSE_MS = 2000;
/** For the line that reports what the close dropped. */
const LAST_LINE_MS = 1000;
const MAX_WAITING_BYTES = 16 * MIB;
/** Lines for each write and sync, so that a sync takes bounded time. */
const MAX_LINES = 1000;

interface Waiting {
  readonly body: string;
  /** A request waits for it: it is dropped if it cannot be written at once. */
  readonly isAwaited: boolean;
  onSettled: ((isWritten: boolean) => void) | undefined;
}

export class FileAuditLog implements AuditLog {
  readonly isRequired: boolean;
  readonly #options: FileAuditLogOptions;
  readonly #nowMs: () => number;
  readonly #mostWaitingBytes: number;
  readonly #heads: NodeJS.Timeout;
  #queue: Waiting[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #fault: string | undefined;
  /** Dropped lines that no line on disk reports yet. */
  #lost = 0;
  #toldHash = '';
  /** No further lines are accepted. */
  #isClosed = false;
  /** No further lines are written. */
  #hasEnded = false;

  constructor(options: FileAuditLogOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#mostWaitingBytes = options.mostWaitingBytes ?? MAX_WAITING_BYTES;
    this.isRequired = options.isRequired;
    this.#heads = setInterval(() => this.#tellHead(), HEAD_MS).unref();
  }

  record(entry: AuditEntry, onSettled?: (isWritten: boolean) => void): void {
    const isAwaited = onSettled !== undefined;
    if (isAwaited && this.#fault !== undefined) {
      onSettled(false);
      return;
    }
    const body = entryBody(entry);
    if (this.#isClosed || this.#waitingBytes + body.length > this.#mostWaitingBytes) {
      this.#giveUp(1);
      onSettled?.(false);
    } else {
      this.#queue.push({ body, isAwaited, onSettled });
      this.#waitingBytes += body.length;
    }
    if (this.#retry === undefined && !this.#isClosed) this.#begin();
  }

  /** Writes waiting lines for at most `CLOSE_MS`, drops the rest, tries to record how many, and closes the file. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    await this.#writeWithin(CLOSE_MS);
    if (this.#lost > 0) await this.#writeWithin(LAST_LINE_MS);
    this.#hasEnded = true;
    clearInterval(this.#heads);
    this.#tellHead();
    await this.#options.file.close();
  }

  /** Drops the lines that are not being written by then. */
  async #writeWithin(ms: number): Promise<void> {
    this.#begin();
    await Promise.race([this.#writing, wait(ms, undefined, { ref: false })]);
    const lines = this.#queue.splice(0);
    this.#giveUp(lines.length);
    for (const line of lines) settle(line, false);
  }

  /** Lines recorded in one turn of the event loop are written together. */
  #begin(): void {
    this.#writing ??= new Promise<void>((resolve) => void setImmediate(resolve)).then(() => this.#writeAll());
  }

  /** After a fault or a loss a `resumed` line comes first: it probes the file and reports how many lines were lost. */
  async #writeAll(): Promise<void> {
    while (this.#hasToWrite) {
      const lines = this.#queue.splice(0, MAX_LINES);
      const bodies = lines.map(({ body }) => body);
      const lost = this.#lost;
      if (this.#fault !== undefined || lost > 0) bodies.unshift(this.#resumption());
      const stall = setTimeout(() => this.#onStall(lines), STALL_MS);
      const fault = await faultOf(this.#options.file.append(bodies));
      clearTimeout(stall);
      if (fault !== undefined) {
        this.#onFailed(lines, fault);
        break;
      }
      // More may have been dropped meanwhile, which no line reports yet.
      this.#lost -= lost;
      this.#onWritten(lines, bodies.length);
    }
    // In the same turn as the last check of the queue: a line recorded from here on starts a new write.
    this.#writing = undefined;
  }

  get #hasToWrite(): boolean {
    return !this.#hasEnded && (this.#queue.length > 0 || this.#fault !== undefined || this.#lost > 0);
  }

  #onWritten(lines: readonly Waiting[], count: number): void {
    for (const { body } of lines) this.#waitingBytes -= body.length;
    this.#options.onLines?.('written', count);
    this.#tellFault(undefined);
    for (const line of lines) settle(line, true);
  }

  #onFailed(lines: readonly Waiting[], fault: string): void {
    this.#queue.unshift(...lines);
    this.#tellFault(fault);
    this.#settleAwaited();
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#begin();
    }, RETRY_MS).unref();
  }

  /** The lines being written may still reach the disk, but their requests no longer wait. */
  #onStall(lines: readonly Waiting[]): void {
    this.#tellFault(`nothing was written for ${STALL_MS} ms`);
    for (const line of lines) settle(line, false);
    this.#settleAwaited();
  }

  /** Drops the lines that requests wait for: what they record will not happen. */
  #settleAwaited(): void {
    const awaited = this.#queue.filter(({ isAwaited }) => isAwaited);
    this.#queue = this.#queue.filter(({ isAwaited }) => !isAwaited);
    for (const line of awaited) {
      this.#waitingBytes -= line.body.length;
      settle(line, false);
    }
  }

  #resumption(): string {
    const reason = this.#fault === undefined ? '' : `nothing could be written (${this.#fault}); `;
    return entryBody({
      event: 'resumed',
      timeMs: this.#nowMs(),
      note: `${reason}${this.#lost} lines were given up`,
    });
  }

  #giveUp(lines: number): void {
    if (lines === 0) return;
    this.#lost += lines;
    this.#options.onLines?.('lost', lines);
  }

  #tellFault(fault: string | undefined): void {
    if (fault === this.#fault) return;
    this.#fault = fault;
    this.#options.onFault?.(fault);
  }

  #tellHead(): void {
    const { head } = this.#options.file;
    if (head.hash === this.#toldHash) return;
    this.#toldHash = head.hash;
    this.#options.onHead?.(head);
  }
}

function settle(line: Waiting, isWritten: boolean): void {
  const { onSettled } = line;
  line.onSettled = undefined;
  onSettled?.(isWritten);
}

async function faultOf(writing: Promise<void>): Promise<string | undefined> {
  try {
    await writing;
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
