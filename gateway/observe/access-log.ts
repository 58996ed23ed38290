/** The access log: one line a request, buffered, bounded, never in the way of a request. */

import type { EventEmitter } from 'node:events';
import { openSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { destination } from 'pino';
import { MIB } from '../core/units.ts';
import { type AccessEntry, AccessLines, mostBytes, writeLine } from './access-entry.ts';

export type { AccessEntry } from './access-entry.ts';

export interface AccessLogOptions {
  /** Path of a file that is appended to, or `-` for standard output; or where lines go otherwise. */
  readonly file: string | LineOutput;
  /** A line leaves at the latest after this. */
  readonly flushMs?: number;
  /** Bytes that wait for the disk; lines beyond are dropped and counted. */
  readonly maxBufferedBytes?: number;
  /** Hears that lines cannot be written: once, and again when that ended and came back. */
  readonly onFault?: (error: Error) => void;
}

export interface AccessLog {
  /** Adds a line. Never throws and never waits. */
  write(entry: AccessEntry): void;
  /** Resolves when every line so far is written, or the attempt failed. */
  flush(): Promise<void>;
  /** Writes what is left, within bounded time, and closes the file. Lines written afterwards are dropped. */
  close(): Promise<void>;
  /** Lines given up. */
  readonly dropped: number;
}

/** A log that others' lines go into as well. */
export interface SharedLog extends AccessLog {
  /** Adds whole lines that were made elsewhere. */
  append(lines: Uint8Array): void;
}

const STANDARD_OUTPUT = 1;
const LINE_END = 0x0a;
const BATCH_BYTES = 65_536;
const FLUSH_MS = 100;
const BUFFERED_BYTES = 8 * MIB;
const CLOSE_MS = 2000;
/** Readable by the group, as log shippers need it. */
const FILE_MODE = 0o640;

/**
 * Takes batches of whole lines and keeps each until it is written. Tells by 'write' how many bytes were, by 'error' that
 * they could not be, by 'drop', before `write` returns, that it has no room for them, and by 'close' that it is done.
 */
export interface LineOutput extends EventEmitter {
  write(bytes: Buffer): boolean;
  /** Tries again what could not be written. */
  flush(): void;
  destroy(): void;
}

/** Opens the log; throws when the file cannot be opened, for that is a broken start. */
export function createAccessLog(options: AccessLogOptions): SharedLog {
  const { file, maxBufferedBytes } = options;
  return new BufferedLog(typeof file === 'string' ? openLines(file, maxBufferedBytes) : file, options);
}

function openLines(file: string, maxLength = BUFFERED_BYTES): LineOutput {
  const fd = file === '-' ? STANDARD_OUTPUT : openSync(file, 'a', FILE_MODE);
  // With `minLength` 0 the destination would not try again after a failure.
  const bounds = { minLength: 1, maxLength, maxWrite: BATCH_BYTES };
  // Its types know text alone; with `contentMode: 'buffer'` it takes bytes.
  return destination({ fd, sync: false, contentMode: 'buffer', ...bounds }) as unknown as LineOutput;
}

/**
 * Lines are written into a buffer and handed on in batches: a line costs the making of its text, and what it was made
 * of is garbage at once.
 */
class BufferedLog implements SharedLog {
  readonly #output: LineOutput;
  readonly #timer: NodeJS.Timeout;
  readonly #onFault: (error: Error) => void;
  readonly #waiting: (() => void)[] = [];
  readonly #lines = new AccessLines();
  #batch: Buffer = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #batchBytes = 0;
  #batchLines = 0;
  /** Handed on and not written yet; lines are counted off when all of them are. */
  #pendingBytes = 0;
  #pendingLines = 0;
  #dropped = 0;
  #failing = false;
  #closed = false;

  constructor(output: LineOutput, options: AccessLogOptions) {
    this.#onFault = options.onFault ?? (() => undefined);
    this.#output = output;
    this.#output.on('write', (bytes: number) => this.#onWritten(bytes));
    this.#output.on('error', (error: Error) => this.#onError(error));
    this.#timer = setInterval(() => this.#tick(), options.flushMs ?? FLUSH_MS).unref();
  }

  get dropped(): number {
    return this.#dropped;
  }

  write(entry: AccessEntry): void {
    if (this.#closed) {
      this.#dropped += 1;
      return;
    }
    const pieces = this.#lines.pieces(entry);
    const needed = mostBytes(pieces);
    if (needed > this.#batch.length - this.#batchBytes) this.#handOn();
    // A line longer than a whole batch gets one of its own size.
    if (needed > this.#batch.length) this.#batch = Buffer.allocUnsafeSlow(needed);
    this.#batchBytes = writeLine(pieces, this.#batch, this.#batchBytes);
    this.#batchLines += 1;
  }

  append(lines: Uint8Array): void {
    const bytes = Buffer.from(lines.buffer, lines.byteOffset, lines.byteLength);
    const count = countLines(bytes);
    if (this.#closed) {
      this.#dropped += count;
      return;
    }
    this.#handOn();
    this.#batch = bytes;
    this.#batchBytes = bytes.length;
    this.#batchLines = count;
    this.#handOn();
  }

  async flush(): Promise<void> {
    if (this.#closed) return;
    this.#tick();
    if (this.#pendingBytes === 0) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await Promise.race([this.flush(), wait(CLOSE_MS, undefined, { ref: false })]);
    this.#closed = true;
    clearInterval(this.#timer);
    this.#dropped += this.#pendingLines + this.#batchLines;
    await new Promise<void>((resolve) => {
      this.#output.once('close', resolve);
      this.#output.once('error', () => resolve());
      this.#output.destroy();
    });
  }

  #tick(): void {
    this.#handOn();
    if (this.#pendingBytes > 0) this.#output.flush();
  }

  /** The destination keeps the buffer until it is written; the next lines go into another. */
  #handOn(): void {
    const bytes = this.#batchBytes;
    if (bytes === 0) return;
    let taken = true;
    const refuse = (): void => {
      taken = false;
    };
    this.#output.once('drop', refuse);
    this.#pendingBytes += bytes;
    this.#pendingLines += this.#batchLines;
    this.#output.write(this.#batch.subarray(0, bytes));
    this.#output.off('drop', refuse);
    if (!taken) {
      this.#pendingBytes -= bytes;
      this.#pendingLines -= this.#batchLines;
      this.#dropped += this.#batchLines;
    }
    this.#batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
    this.#batchBytes = 0;
    this.#batchLines = 0;
  }

  #onWritten(bytes: number): void {
    this.#failing = false;
    this.#pendingBytes -= bytes;
    if (this.#pendingBytes > 0) return;
    this.#pendingLines = 0;
    this.#wake();
  }

  /** The destination keeps what it could not write; the next tick tries again. */
  #onError(error: Error): void {
    this.#wake();
    if (this.#failing) return;
    this.#failing = true;
    this.#onFault(error);
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(LINE_END); at >= 0; at = bytes.indexOf(LINE_END, at + 1)) count += 1;
  return count;
}
