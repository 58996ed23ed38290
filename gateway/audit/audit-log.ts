/** The audit log: entries are chained, written and synced in groups, and whoever waits is told whether theirs is on disk. */

import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../core/error-text.ts';
import { MIB } from '../core/units.ts';
import type { AuditFile } from './audit-file.ts';
import type { ChainHead } from './chain.ts';
import { type AuditEntry, entryBody } from './entry.ts';

/** What the parts of the gateway see of it. An entry is plain data, so that it may be sent to the process that has the file. */
export interface AuditLog {
  /**
   * Adds a line; never throws and never waits. `onSettled` hears once whether it is on disk; a line that somebody waits
   * for and that could not be written is given up, any other is written later.
   */
  record(entry: AuditEntry, onSettled?: (isWritten: boolean) => void): void;
  /** Requests wait for their line before anything goes to a node, and are refused without. */
  readonly isRequired: boolean;
}

export interface FileAuditLogOptions {
  readonly file: Pick<AuditFile, 'append' | 'head' | 'close'>;
  readonly isRequired: boolean;
  readonly nowMs?: () => number;
  /** Characters of lines that wait for a disk that does not write; what comes beyond is given up and counted. */
  readonly mostWaitingBytes?: number;
  /** Lines that are on disk, and lines that were given up. */
  readonly onLines?: (outcome: 'written' | 'lost', lines: number) => void;
  /** Hears that lines cannot be written, each time for another reason, and (undefined) that they can again. */
  readonly onFault?: (problem: string | undefined) => void;
  /** Hears where the chain stands, now and then and at its end: told elsewhere, it is what a cut log is held against. */
  readonly onHead?: (head: ChainHead) => void;
}

const RETRY_MS = 1000;
/** A disk that takes longer does not write. */
const STALL_MS = 5000;
const HEAD_MS = 60_000;
const CLOSE_MS = 2000;
/** For the line that tells what the close gave up. */
const LAST_LINE_MS = 1000;
const MAX_WAITING_BYTES = 16 * MIB;
/** Written and synced together, so that one sync has an end. */
const MAX_LINES = 1000;

interface Waiting {
  readonly body: string;
  /** Somebody waits for it: if it is not written at once it is not written at all. */
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
  /** Given up, and no line on disk tells of them yet. */
  #lost = 0;
  #toldHash = '';
  /** Nothing more is taken. */
  #isClosed = false;
  /** Nothing more is written. */
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

  /** Writes what waits, or else how much of it was given up, if it can be within bounded time, and closes the file. */
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

  /** What is not on its way by then is given up. */
  async #writeWithin(ms: number): Promise<void> {
    this.#begin();
    await Promise.race([this.#writing, wait(ms, undefined, { ref: false })]);
    const lines = this.#queue.splice(0);
    this.#giveUp(lines.length);
    for (const line of lines) settle(line, false);
  }

  /** What is recorded in the same turn goes together. */
  #begin(): void {
    this.#writing ??= new Promise<void>((resolve) => void setImmediate(resolve)).then(() => this.#writeAll());
  }

  /** After a fault, and after losses, there is a line of the log's own: of losses too, though nothing comes behind them. */
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
      // Others may have been given up meanwhile: no line tells of them yet.
      this.#lost -= lost;
      this.#onWritten(lines, bodies.length);
    }
    // Together with the last look at the queue: what is recorded from here on begins anew.
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

  /** The lines under way may be written in the end; nobody waits for that. */
  #onStall(lines: readonly Waiting[]): void {
    this.#tellFault(`nothing was written for ${STALL_MS} ms`);
    for (const line of lines) settle(line, false);
    this.#settleAwaited();
  }

  /** What they tell of does not happen, so they are not kept. */
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
