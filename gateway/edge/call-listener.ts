/** Receives what a caller does during one call, and what the gateway demands of the call. */

import type { Denial } from '../core/denial.ts';

/** The body itself goes to the sink given to `readBody`. */
export interface CallListener {
  /** Bytes that are on their way to the node. */
  readonly unsentBytes: number;
  /** The caller reads again after `write` returned false. */
  onCallerDrain(): void;
  /** The body breaks its framing; no more of it follows. */
  onBadBody(reason: string): void;
  /** The connection is closed and can no longer be written; `atEnd`: the caller ended it, and all it sent was read. */
  onCallerGone(atEnd: boolean): void;
  /** Without room nothing more may be read from either side. May be called again with the same value. */
  onRoom(hasRoom: boolean): void;
  /** The gateway cannot continue the call. */
  onCut(denial: Denial): void;
}
