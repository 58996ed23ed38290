/** A list of 100,000 prefixes is replaced under load: the effect on request latency, and refused requests. */

import { readFile, writeFile } from 'node:fs/promises';
import { Caller } from './load.ts';
import type { Yard } from './yard.ts';

const EVERY_MS = 500;
const CALLERS = 4;

export interface SwapResult {
  readonly swaps: number;
  readonly requests: number;
  readonly refused: number;
  readonly stillP99Ms: number;
  readonly swappingP99Ms: number;
}

/** Alternates between intervals without a change and intervals in which the list changes twice a second. */
export async function swapLists(yard: Yard, seconds: number): Promise<SwapResult> {
  const still: number[] = [];
  const swapping: number[] = [];
  const counts = { swaps: 0, refused: 0 };
  const text = await readFile(yard.addressList, 'utf8');
  const turns = 6;
  for (let turn = 0; turn < turns; turn++) {
    const untilMs = performance.now() + (seconds * 1000) / turns;
    const latencies = turn % 2 === 0 ? still : swapping;
    await Promise.all([
      ...Array.from({ length: CALLERS }, () => ask(yard, untilMs, latencies, counts)),
      ...(turn % 2 === 0 ? [] : [replace(yard, untilMs, text, counts)]),
    ]);
  }
  return {
    ...counts,
    requests: still.length + swapping.length,
    stillP99Ms: p99(still),
    swappingP99Ms: p99(swapping),
  };
}

async function replace(yard: Yard, untilMs: number, text: string, counts: { swaps: number }): Promise<void> {
  while (performance.now() < untilMs) {
    counts.swaps += 1;
    await writeFile(yard.addressList, `${text}203.0.113.${counts.swaps % 256}/32\n`);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

async function ask(
  yard: Yard,
  untilMs: number,
  latencies: number[],
  counts: { refused: number },
): Promise<void> {
  const caller = new Caller(await yard.connect(yard.patchgate), yard.token);
  while (performance.now() < untilMs) {
    const from = performance.now();
    const { status } = await caller.get('/v1/models/bench');
    latencies.push(performance.now() - from);
    if (status !== 200) counts.refused += 1;
  }
  caller.close();
}

function p99(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length * 0.99)] ?? Number.NaN;
}
