/** Latency of a small request, as its caller sees it, at half of the gateway's capacity. */

import { createConnection } from 'node:net';
import { Caller } from './load.ts';
import { openCallers, requireStatus } from './measure.ts';
import { median, print } from './print.ts';
import type { LatencyResult } from './results.ts';
import type { Side, Yard } from './yard.ts';

const CONNECTIONS = 32;
const WARM_REQUESTS = 2000;
const CAPACITY_REQUESTS = 8000;
const SECONDS = 2;
const NODE = 'the node alone, without TLS';

/** Measures all sides in turns at the same rate. Resolves to medians over the rounds of each percentile. */
export async function measureLatency(
  yard: Yard,
  sides: readonly Side[],
  rounds: number,
): Promise<LatencyResult> {
  const rate = Math.floor((await capacity(yard)) / 2);
  const names = [...sides.map(({ name }) => name), NODE];
  const found = new Map<string, { p50: number; p99: number }[]>(names.map((name) => [name, []]));
  for (let left = rounds; left > 0; left--) {
    for (const side of left % 2 === 0 ? sides : sides.toReversed())
      found.get(side.name)?.push(await paced(await openCallers(yard, side, CONNECTIONS), rate));
    found.get(NODE)?.push(await paced(plainCallers(yard), rate));
  }
  return {
    requestsPerSecond: rate,
    sides: [...found].map(([name, all]) => ({
      name,
      p50Ms: Number(median(all.map(({ p50 }) => p50)).toFixed(2)),
      p99Ms: Number(median(all.map(({ p99 }) => p99)).toFixed(2)),
    })),
  };
}

function plainCallers({ nodePort }: Yard): readonly Caller[] {
  return Array.from(
    { length: CONNECTIONS },
    () => new Caller(createConnection(nodePort, '127.0.0.1').setNoDelay(true), undefined),
  );
}

/** Requests per second of callers that never pause, with node and callers on the same machine. */
async function capacity(yard: Yard): Promise<number> {
  const callers = await openCallers(yard, yard.patchgate, CONNECTIONS);
  const all = async (count: number): Promise<void> => {
    await Promise.all(
      callers.map(async (caller) => {
        for (let left = count / CONNECTIONS; left > 0; left--) await ask(caller);
      }),
    );
  };
  await all(WARM_REQUESTS);
  const begun = performance.now();
  await all(CAPACITY_REQUESTS);
  const seconds = (performance.now() - begun) / 1000;
  for (const caller of callers) caller.close();
  return CAPACITY_REQUESTS / seconds;
}

async function ask(caller: Caller): Promise<void> {
  requireStatus(await caller.get('/v1/models/bench'), 200, 'a small request');
}

/** Requests are due at equal intervals, whether earlier ones are answered or not; latency counts from the due time. */
async function paced(callers: readonly Caller[], rate: number): Promise<{ p50: number; p99: number }> {
  const free = [...callers];
  const due: number[] = [];
  const tookMs: number[] = [];
  const failures: unknown[] = [];
  const total = rate * SECONDS;
  const begun = performance.now();
  const send = (): void => {
    while (due.length > 0 && free.length > 0) {
      const at = due.shift() ?? 0;
      const caller = free.pop();
      if (caller === undefined) return;
      ask(caller).then(
        () => {
          tookMs.push(performance.now() - at);
          free.push(caller);
          send();
        },
        (error: unknown) => failures.push(error),
      );
    }
  };
  for (let made = 0; made < total && failures.length === 0; ) {
    const now = performance.now();
    for (; made < total && begun + (made * 1000) / rate <= now; made++)
      due.push(begun + (made * 1000) / rate);
    send();
    // Spinning would take a core from the processes that are measured.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  while (tookMs.length < total && failures.length === 0)
    await new Promise((resolve) => setTimeout(resolve, 5));
  for (const caller of callers) caller.close();
  if (failures.length > 0) throw failures[0];
  const sorted = tookMs.sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

export function printLatency({ requestsPerSecond, sides }: LatencyResult): void {
  print(`\nlatency in ms at ${requestsPerSecond} requests per second, half of patchgate's maximum here`);
  for (const { name, p50Ms, p99Ms } of sides)
    print(`  ${name.padEnd(28)} p50 ${p50Ms.toFixed(2)}, p99 ${p99Ms.toFixed(2)}`);
}
