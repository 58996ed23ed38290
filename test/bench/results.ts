/** The results of a whole run, as stored in `results.json` and shown in the README. */

import { readFileSync } from 'node:fs';
import type { RivalName } from './rivals.ts';

/** Median and range of the ratios of all rounds. */
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
    /** patchgate's value divided by the rival's. */
    readonly ratio: Spread;
    readonly goal?: number;
  }[];
  /** First value divided by second value of the same side in a round, over all sides. */
  readonly noise: Spread;
}

/** Latencies of callers that together send at half of the gateway's capacity. */
export interface LatencyResult {
  readonly requestsPerSecond: number;
  readonly sides: readonly { readonly name: string; readonly p50Ms: number; readonly p99Ms: number }[];
}

export interface MemoryResult {
  readonly streams: number;
  readonly sides: readonly {
    readonly name: string;
    readonly idleMib: number;
    /** Growth with all streams running, divided by their number. */
    readonly kibPerStream: number;
  }[];
}

export interface Results {
  /** ISO 8601. */
  readonly date: string;
  readonly rounds: number;
  /** Small requests in one measurement. */
  readonly requests: number;
  /** Size of one stream in MiB. */
  readonly mebibytes: number;
  readonly machine: string;
  /** Load average of the minute before the start (`os.loadavg`); above a few tenths other processes were running. */
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
