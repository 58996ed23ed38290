/** What a whole run of the bench found, as it is kept beside it and told in the README. */

import { readFileSync } from 'node:fs';
import type { RivalName } from './rivals.ts';

/** Of the ratios of all rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface LoadResult {
  readonly name: string;
  readonly unit: string;
  /** CPU of the proxy per unit; medians over the rounds. */
  readonly patchgate: number;
  readonly rivals: readonly {
    readonly name: RivalName;
    readonly value: number;
    /** patchgate's divided by the rival's. */
    readonly ratio: Spread;
    readonly goal?: number;
  }[];
  /** The same side twice in a round. */
  readonly noise: Spread;
}

/** Milliseconds, seen by callers that send at half of what the gateway can take. */
export interface LatencyResult {
  readonly requestsPerSecond: number;
  readonly sides: readonly { readonly name: string; readonly p50Ms: number; readonly p99Ms: number }[];
}

export interface MemoryResult {
  readonly streams: number;
  readonly sides: readonly {
    readonly name: string;
    readonly idleMib: number;
    /** Growth with all streams under way, by their number. */
    readonly kibPerStream: number;
  }[];
}

export interface Results {
  /** ISO 8601. */
  readonly date: string;
  readonly rounds: number;
  /** Small requests of one run. */
  readonly requests: number;
  /** MiB of one stream. */
  readonly mebibytes: number;
  readonly machine: string;
  /** Processes that wanted to run, over the minute before it began (`os.loadavg`): above a few tenths others were at work. */
  readonly busyBefore?: number;
  readonly cipher: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly skipped: readonly string[];
  readonly loads: readonly LoadResult[];
  readonly latency: LatencyResult;
  readonly memory: MemoryResult;
}

export const resultsPath = new URL('results.json', import.meta.url);
export const chartPath = new URL('results.svg', import.meta.url);

export function readResults(): Results {
  return JSON.parse(readFileSync(resultsPath, 'utf8')) as Results;
}

export function resultsText(results: Results): string {
  return `${JSON.stringify(results, undefined, 2)}\n`;
}
