/** The access log: one line a request, buffered, bounded, never in the way of a request. */

import { once } from 'node:events';
import { destination } from 'pino';
import { type AccessEntry, formatAccessLine } from './access-entry.ts';

export type { AccessEntry } from './access-entry.ts';

export interface AccessLogOptions {
  /** Path of a file that is appended to, or `-` for standard output. */
  readonly file: string;
  /** A line leaves at the latest after this. */
  readonly flushMs?: number;
  /** Bytes that wait for the disk; lines beyond are dropped and counted. */
  readonly maxBufferedBytes?: number;
  /** Hears that lines cannot be written: once, and again after they could be in between. */
  readonly onFault?: (error: Error) => void;
}

export interface AccessLog {
  /** Adds a line. Never throws and never waits. */
  write(entry: AccessEntry): void;
  /** Resolves when every line so far is written, or cannot be. */
  flush(): Promise<void>;
  /** Writes what is left and closes the file. Lines written afterwards are dropped. */
  close(): Promise<void>;
  /** Lines that were not written. */
  readonly dropped: number;
}
