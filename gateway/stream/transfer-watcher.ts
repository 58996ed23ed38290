/** What a transfer reports to the exchange it belongs to. */

import type { Denial } from '../core/denial.ts';
import type { Refusal } from '../refuse.ts';
import type { EndedBy } from './account.ts';

/** Hears how the transfer ends, and ends it by `stop`; may be told more than once, and is right to heed the first. */
export interface TransferWatcher {
  /** The response went out whole. */
  onComplete(mayReuse: boolean): void;
  onRefusal(denial: Denial): void;
  /** The route has an answer of its own for this. */
  onAnswer(answer: Refusal, denial: Denial): void;
  onBroken(endedBy: EndedBy, cause: string): void;
  /** The caller ended its tunnel. */
  onLeft(): void;
}
