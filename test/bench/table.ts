/** The whole table: every load against every rival in one run. */

import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { MIB } from '../../gateway/core/units.ts';
import { chart } from './chart.ts';
import { fullLoad, resumedLoad } from './handshake-loads.ts';
import { measureLatency, printLatency } from './latency.ts';
import type { Load } from './measure.ts';
import { measureMemory, printMemory } from './memory.ts';
import { print } from './print.ts';
import { chartPath, type LoadResult, type Results, resultsPath, resultsText } from './results.ts';
import type { Rival, Rivals } from './rivals.ts';
import { printLoad, runLoad } from './rounds.ts';
import { warmUp } from './same-work.ts';
import { smallLoad } from './small-load.ts';
import { downloadLoad, patchLoads, uploadLoad } from './stream-loads.ts';
import type { Yard } from './yard.ts';

export interface TableOptions {
  readonly rounds: number;
  readonly requests: number;
  readonly streamBytes: number;
}

export async function allLoads({ requests, streamBytes }: TableOptions): Promise<readonly Load[]> {
  return [
    smallLoad(requests),
    uploadLoad(streamBytes),
    ...(await patchLoads(streamBytes)),
    downloadLoad(streamBytes),
    fullLoad,
    resumedLoad,
  ];
}

export function versionsOf(rivals: readonly Rival[]): Readonly<Record<string, string>> {
  const { node, openssl } = process.versions;
  const others = rivals.map(({ name, version }) => [name, version] as const);
  return { patchgate: `Node ${node} (OpenSSL ${openssl})`, ...Object.fromEntries(others) };
}

/** Runs and prints all measurements of the table. */
export async function runTable(
  yard: Yard,
  { running, skipped }: Rivals,
  cipher: string,
  options: TableOptions,
): Promise<Results> {
  const [busyBefore = 0] = loadavg();
  const asGood = running.filter(({ name }) => name === 'HAProxy' || name === 'nginx');
  const memory = await measureMemory(yard, [yard.patchgate, ...asGood]);
  printMemory(memory);
  await warmUp(yard, [yard.patchgate, ...running]);
  const loads: LoadResult[] = [];
  for (const load of await allLoads(options)) {
    const result = await runLoad(yard, load, running, options.rounds);
    printLoad(result);
    loads.push(result);
  }
  const latency = await measureLatency(yard, [yard.patchgate, ...asGood], options.rounds);
  printLatency(latency);
  const [processor] = cpus();
  return {
    date: new Date().toISOString(),
    rounds: options.rounds,
    requests: options.requests,
    mebibytes: options.streamBytes / MIB,
    machine: `${cpus().length} × ${processor?.model.trim() ?? 'unknown'}`,
    busyBefore: Number(busyBefore.toFixed(1)),
    cipher,
    versions: versionsOf(running),
    skipped,
    loads,
    latency,
    memory,
  };
}

/** Writes results and chart to this folder, from which `npm run documents` takes the README's figures. */
export function keep(results: Results): void {
  writeFileSync(resultsPath, resultsText(results));
  writeFileSync(chartPath, chart(results));
  print(`\nwritten: test/bench/results.json, test/bench/results.svg (npm run documents updates the README)`);
}
