/** Latencies and failures of callers that send one request after another. */

import { rename, writeFile } from 'node:fs/promises';
import { Caller } from './load.ts';
import type { Yard } from './yard.ts';

/** What callers have seen so far; it grows while they run. */
export interface Seen {
  readonly tookMs: number[];
  /** Answers with a status other than 200, and lost connections. */
  failed: number;
}

export function nothingSeen(): Seen {
  return { tookMs: [], failed: 0 };
}

/** Runs one caller while `goesOn` returns true. A lost connection is counted and replaced. */
export async function keepAsking(
  yard: Pick<Yard, 'connect' | 'patchgate' | 'token'>,
  seen: () => Seen,
  goesOn: () => boolean,
  pauseMs = 0,
): Promise<void> {
  while (goesOn()) {
    try {
      const caller = new Caller(await yard.connect(yard.patchgate), yard.token);
      while (goesOn()) {
        const fromMs = performance.now();
        const { status } = await caller.get('/v1/models/bench');
        const { tookMs } = seen();
        tookMs.push(performance.now() - fromMs);
        if (status !== 200) seen().failed += 1;
        if (pauseMs > 0) await sleep(pauseMs);
      }
      caller.close();
    } catch {
      seen().failed += 1;
    }
  }
}

/** Returns the percentile of unsorted numbers; `part` is 0.99 for p99. */
export function percentile(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Replaces a file atomically, as operators do. */
export async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
