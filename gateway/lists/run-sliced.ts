/** Runs long work in slices and yields to the event loop between them. */

import type { SlicedWork } from '../core/prefix-columns.ts';

/** Length of a slice; the last step may exceed it. */
const PIECE_MS = 2;

/** Resolves to the result, or to undefined once `isWanted` returns false. */
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
