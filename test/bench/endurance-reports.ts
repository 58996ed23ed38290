/** Prints the results of the benches for endurance and faults. */

import type { Waits } from './chaos.ts';
import { benchIdle, IDLE_CONNECTIONS, IDLE_GOAL } from './idle.ts';
import { median, print } from './print.ts';
import { STORM_GOAL_MS, type StormResult, stormOf } from './reload-storm.ts';
import { SOAK_BOUNDS, type SoakSample, soak } from './soak.ts';

export async function reportIdle(): Promise<void> {
  print(
    `\n${IDLE_CONNECTIONS} idle mutual-TLS connections, KiB of resident memory each (goal: ${IDLE_GOAL})`,
  );
  print(
    `                         at rest   connected   asked   gone  reconnected   new handshake: alone, among    lost`,
  );
  await benchIdle((each) => {
    const { connectedKib, askedKib, leftKib, againKib } = each;
    const [connected, asked, left, again] = [connectedKib, askedKib, leftKib, againKib].map((kib) =>
      kib.toFixed(1),
    );
    print(
      `  ${each.name.padEnd(22)} ${each.restMib.toFixed(0).padStart(3)} MiB   ${connected?.padStart(9)} ${asked?.padStart(7)} ${left?.padStart(6)} ${again?.padStart(12)}` +
        `   ${each.aloneMs.toFixed(1).padStart(11)} ms, ${each.besideMs.toFixed(1)} ms ${String(each.lost).padStart(15)}`,
    );
  });
}

/** Rejects, after printing, if anything exceeded its bound. */
export async function reportSoak(minutes: number): Promise<void> {
  print(
    `\nsoak of ${minutes} minutes: small requests, checked patches, downloads, refusals, aborted uploads,`,
  );
  print(`new handshakes, and every 5 s a reload with a changed list of 100,000 prefixes`);
  const row = (name: string, { residentMib, descriptors, delayMs }: Omit<SoakSample, 'requests'>): string =>
    `  ${name.padEnd(26)}${residentMib.toFixed(1).padStart(7)} MiB  ${descriptors.toFixed(1).padStart(6)} descriptors  event loop ${delayMs.toFixed(1).padStart(6)} ms (median of each second)`;
  const { growth, left, descriptors, faults } = await soak(minutes, (minute, sample) =>
    print(`${row(`minute ${minute}`, sample)}  ${sample.requests} caller sessions`),
  );
  print(row('growth of the second half', growth));
  print(row('bound', SOAK_BOUNDS));
  print(
    `  after all callers left    ${left[0]} connections, ${left[1]} streams; descriptors ${descriptors.join(' → ')}`,
  );
  if (faults.length > 0) throw new Error(faults.join('; '));
}

export async function reportStorm(seconds: number): Promise<void> {
  print(
    `\na reload every second for ${seconds} s at full load, each with a changed policy and a changed list of 100,000`,
  );
  print(
    `prefixes, alternating with turns without reloads; p99 in ms, medians of the turns (goal: change below ${STORM_GOAL_MS})`,
  );
  for (const workers of [1, 2]) printStorm(await stormOf(workers, seconds));
}

function printStorm({ workers, reloads, requests, failed, stillMs, reloadingMs }: StormResult): void {
  const moved = reloadingMs.map((ms, turn) => ms - (stillMs[turn] ?? Number.NaN));
  const noise = stillMs.slice(1).map((ms, turn) => ms - (stillMs[turn] ?? Number.NaN));
  print(`  workers: ${workers}   ${reloads} reloads, ${requests} requests, failed: ${failed}`);
  print(`    p99 without ${range(stillMs)}, with ${range(reloadingMs)}, change ${range(moved)}`);
  print(`    noise: change between turns without reloads ${range(noise)}`);
}

function range(numbers: readonly number[]): string {
  return `${median(numbers).toFixed(1)} (${Math.min(...numbers).toFixed(1)} to ${Math.max(...numbers).toFixed(1)})`;
}

export async function reportChaos(): Promise<void> {
  // Imported here because it loads the Redis client; see `reportSharedLimits`.
  const { benchChaos } = await import('./chaos.ts');
  print(
    `\nlists in etcd and Redis, limits in Redis, 2 workers: each fault for 4 s under load, after 2 s without one`,
  );
  print(
    `                         requests   failed   let in   p50, p99, slowest in ms: before; during fault    recovered after`,
  );
  await benchChaos(2, ({ name, requests, failed, letIn, before, during, wellMs }) => {
    const counts = [requests, failed, letIn].map((count) => String(count).padStart(9)).join('');
    const well = wellMs === undefined ? '' : `${wellMs.toFixed(0).padStart(7)} ms`;
    print(`  ${name.padEnd(22)}${counts}  ${waitsText(before)};${waitsText(during)}${well}`);
  });
}

function waitsText({ p50Ms, p99Ms, slowestMs }: Waits): string {
  return [p50Ms, p99Ms, slowestMs].map((ms) => ms.toFixed(1).padStart(7)).join('');
}
