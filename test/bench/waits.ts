/** What callers who ask one request after another wait for their answers, and what does not pass. */

import { rename, writeFile } from 'node:fs/promises';
import { Caller } from './load.ts';
import type { Yard } from './yard.ts';

/** What was seen so far; more is added while callers ask. */
export interface Seen {
  readonly tookMs: number[];
  /** Answers with another status than the wanted one, and connections that were lost. */
  failed: number;
}

export function nothingSeen(): Seen {
  return { tookMs: [], failed: 0 };
}

/** One caller until `goesOn` says no. A connection that is lost is counted, and another one opened. */
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

/** Of a copy in order. */
export function percentile(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** As operators do it: nobody reads half of it. */
export async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
