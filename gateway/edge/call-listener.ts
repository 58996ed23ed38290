/** Who hears what a caller does during one call, and is told what the gateway needs of the call. */

import type { Denial } from '../core/denial.ts';

/** The body itself goes to the sink given to `readBody`. */
export interface CallListener {
  /** Bytes that are on their way to the node. */
  readonly unsentBytes: number;
  /** The caller reads again after `write` answered false. */
  onCallerDrain(): void;
  /** The body breaks its framing; nothing more of it comes. */
  onBadBody(reason: string): void;
  /** The caller has gone, `atEnd` after all it sent was read, or lost the connection; nothing can be written any more. */
  onCallerGone(atEnd: boolean): void;
  /** Without room nothing more may be read from either side. May be told again. */
  onRoom(hasRoom: boolean): void;
  /** The gateway cannot go on with the call. */
  onCut(denial: Denial): void;
}
