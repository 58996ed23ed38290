/** What every connection of a gateway shares. */

import type { Deadlines } from '../core/deadlines.ts';
import type { Denial } from '../core/denial.ts';
import type { RequestHead, RequestLine } from '../core/facts.ts';
import type { HeadLimits } from '../http1/head-reader.ts';
import type { Llhttp } from '../http1/llhttp.ts';
import type { CallerConnection } from './caller-connection.ts';
import type { RecordMemory } from './record-memory.ts';

/** Times in milliseconds. */
export interface CallerTimeouts {
  readonly headMs: number;
  readonly keepAliveIdleMs: number;
  readonly streamIdleMs: number;
  readonly lingerMs: number;
}

export interface CallerContext {
  readonly llhttp: Llhttp;
  readonly deadlines: Deadlines;
  /** Memory that callers are read into; absent if each read allocates a buffer. */
  readonly memory?: RecordMemory;
  /** Most bytes of a body that are gathered in that memory before they are passed on. */
  readonly maxGatheredBytes: number;
  readonly limits: HeadLimits;
  readonly timeouts: CallerTimeouts;
  /**
   * Begins a call: `attach` a listener and answer, now or later. A `Denial` stands for a head that is invalid or late;
   * `line` is the request line of a head that could be parsed.
   */
  readonly handle: (caller: CallerConnection, head: RequestHead | Denial, line?: RequestLine) => void;
  readonly onClosed: (caller: CallerConnection) => void;
}
