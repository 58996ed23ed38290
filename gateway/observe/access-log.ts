/** The access log: one line per request, in a bounded buffer; logging never delays a request. */

import type { EventEmitter } from 'node:events';
import { openSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { destination } from 'pino';
import { MIB } from '../core/units.ts';
import { type AccessEntry, AccessLines, mostBytes, writeLine } from './access-entry.ts';

export type { AccessEntry } from './access-entry.ts';

export interface AccessLogOptions {
  /** Path of a file to append to, `-` for standard output, or another output. */
  readonly file: string | LineOutput;
  /** The longest a line waits before it is written. */
  readonly flushMs?: number;
  /** Limit on the bytes waiting for the disk; lines beyond it are dropped and counted. */
  readonly maxBufferedBytes?: number;
  /** Called when writing begins to fail; called again only after a successful write. */
  readonly onFault?: (error: Error) => void;
}

export interface AccessLog {
  /** Adds a line. Never throws and never waits. */
  write(entry: AccessEntry): void;
  /** Resolves when all lines so far have been written, or an attempt to write them has failed. */
  flush(): Promise<void>;
  /** Writes the remaining lines within bounded time and closes the file. Later lines are dropped. */
  close(): Promise<void>;
  readonly dropped: number;
}

/** A log that also takes the lines of other processes. */
export interface SharedLog extends AccessLog {
  /** Adds whole lines that another process has formatted. */
  append(lines: Uint8Array): void;
}

const STANDARD_OUTPUT = 1;
const LINE_END = 0x0a;
const BATCH_BYTES = 65_536;
const FLUSH_MS = 100;
const BUFFERED_BYTES = 8 * MIB;
const CLOSE_MS = 2000;
/** Readable by the group, for log shippers. */
const FILE_MODE = 0o640;

/**
 * Takes batches of whole lines and keeps each until it is written. Emits 'write' with the number of bytes written,
 * 'error' if writing fails, 'drop', before `write` returns, if it has no room for a batch, and 'close' when closed.
 */
export interface LineOutput extends EventEmitter {
  write(bytes: Buffer): boolean;
  /** Retries what could not be written. */
  flush(): void;
  destroy(): void;
}

/** Opens the log; throws if the file cannot be opened, since the gateway must not start without it. */
export function createAccessLog(options: AccessLogOptions): SharedLog {
  const { file, maxBufferedBytes } = options;
  return new BufferedLog(typeof file === 'string' ? openLines(file, maxBufferedBytes) : file, options);
}

function openLines(file: string, maxLength = BUFFERED_BYTES): LineOutput {
  const fd = file === '-' ? STANDARD_OUTPUT : openSync(file, 'a', FILE_MODE);
  // With `minLength` 0 the destination would not retry after a failure.
  const bounds = { minLength: 1, maxLength, maxWrite: BATCH_BYTES };
  // Its types only allow text, but with `contentMode: 'buffer'` it takes bytes.
  return destination({ fd, sync: false, contentMode: 'buffer', ...bounds }) as unknown as LineOutput;
}

/** Formats lines into a buffer and hands it on in batches, so that the strings of a line can be freed at once. */
class BufferedLog implements SharedLog {
  readonly #output: LineOutput;
  readonly #timer: NodeJS.Timeout;
  readonly #onFault: (error: Error) => void;
  readonly #waiting: (() => void)[] = [];
  readonly #lines = new AccessLines();
  #batch: Buffer = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #batchBytes = 0;
  #batchLines = 0;
  /** Handed on, but not yet written; `#pendingLines` is only reset when all of them are. */
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

  /** The output keeps the buffer until it is written, so the next lines get a new one. */
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

  /** The output keeps what it could not write; the next tick retries. */
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
