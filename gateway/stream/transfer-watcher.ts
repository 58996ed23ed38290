/** What a transfer reports to the exchange it belongs to. */

import type { Denial } from '../core/denial.ts';
import type { Refusal } from '../refuse.ts';
import type { EndedBy } from './account.ts';

/** Notified when the transfer ends, and then calls `stop`. May be called more than once; only the first call counts. */
export interface TransferWatcher {
  /** The whole response was sent. */
  onComplete(mayReuse: boolean): void;
  onRefusal(denial: Denial): void;
  /** The route has a fallback answer to send instead of the denial. */
  onAnswer(answer: Refusal, denial: Denial): void;
  onBroken(endedBy: EndedBy, cause: string): void;
  /** The caller ended its tunnel. */
  onLeft(): void;
}
