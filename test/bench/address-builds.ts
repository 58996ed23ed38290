/** Building an address list from its text: how long it takes, and how long it blocks the event loop. */

import { finish } from '../../gateway/core/prefix-tree.ts';
import { type ListContents, prefixReader } from '../../gateway/lists/contents.ts';
import { runSliced } from '../../gateway/lists/run-sliced.ts';
import { median } from './print.ts';

export interface BuildResult {
  /** Median of all builds but the first, whose code is cold. */
  readonly buildMs: number;
  /** The longest step, taking each step's time from its fastest build: what the code itself costs. */
  readonly longestStepMs: number;
  /**
   * Longest time the event loop was blocked when the list is built as in the gateway, median of the builds. It includes
   * garbage collection and the time of other processes.
   */
  readonly longestTurnMs: number;
}

const BUILDS = 6;

export async function benchBuilds(text: string): Promise<BuildResult> {
  const builds: Float64Array[] = [];
  for (let left = BUILDS; left > 0; left--) builds.push(stepsMs(text));
  const [first, ...others] = builds;
  let longestStepMs = 0;
  for (let step = 0; step < (first?.length ?? 0); step++)
    longestStepMs = Math.max(longestStepMs, Math.min(...others.map((each) => each[step] ?? 0)));
  const turns: number[] = [];
  for (let left = BUILDS - 1; left > 0; left--) turns.push(await longestTurnMs(text));
  return {
    buildMs: median(others.map((each) => each.reduce((sum, ms) => sum + ms, 0))),
    longestStepMs,
    longestTurnMs: median(turns),
  };
}

export function build(text: string): ListContents {
  return requireContents(finish(prefixReader.text('list', text, 0)));
}

/** Returns the milliseconds of each step; the same text always takes the same steps. */
function stepsMs(text: string): Float64Array {
  const steps = prefixReader.text('list', text, 0);
  const took: number[] = [];
  for (;;) {
    const from = performance.now();
    const { done, value } = steps.next();
    took.push(performance.now() - from);
    if (done !== true) continue;
    requireContents(value);
    return Float64Array.from(took);
  }
}

async function longestTurnMs(text: string): Promise<number> {
  let from = performance.now();
  let longest = 0;
  const measure = (): boolean => {
    const now = performance.now();
    longest = Math.max(longest, now - from);
    from = now;
    return true;
  };
  requireContents(await runSliced(prefixReader.text('list', text, 0), measure));
  measure();
  return longest;
}

function requireContents(value: object | undefined): ListContents {
  if (value === undefined || !('tree' in value)) throw new Error('the list has faults');
  return value as ListContents;
}
