/** Runs long work in small pieces, with all the other work in between. */

import type { SlicedWork } from '../core/prefix-columns.ts';

/** A piece goes on for so long, and a step beyond. */
const PIECE_MS = 2;

/** The result, or nothing when `isWanted` says no meanwhile. */
export async function runSliced<T>(work: SlicedWork<T>, isWanted: () => boolean): Promise<T | undefined> {
  for (;;) {
    const pieceEndMs = performance.now() + PIECE_MS;
    while (performance.now() < pieceEndMs) {
      const { done, value } = work.next();
      if (done === true) return value;
    }
    await new Promise((resolve) => setImmediate(resolve));
    if (!isWanted()) return undefined;
  }
}
