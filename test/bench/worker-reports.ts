/** Prints the results of the worker benches. */

import { median, print, spread } from './print.ts';
import { benchReplacement } from './replacement.ts';
import {
  benchScrape,
  benchWorkers,
  CONNECTIONS,
  DEPTH,
  type ScrapeResult,
  SHARE,
  type Throughput,
} from './workers.ts';

const SECONDS = 3;
/** From the sixth death in a row, replacement is delayed. */
const KILLS = 5;

export async function reportWorkers(rounds: number): Promise<void> {
  print(
    `\nrequests on ${CONNECTIONS} connections, ${DEPTH} per write; ${rounds} rounds of ${SECONDS} s, medians`,
  );
  const { results, areHeld } = await benchWorkers(rounds, SECONDS);
  print(
    areHeld
      ? `  each worker is limited to ${SHARE} of a core, so that two workers leave one of two cores to callers and node`
      : '  callers and node share the cores with the workers: control groups cannot be created here',
  );
  for (const asked of ['forwarded', 'refused'] as const) {
    const of = (workers: number): readonly Throughput[] =>
      results.filter((each) => each.asked === asked && each.workers === workers);
    for (const workers of [1, 2]) {
      const each = of(workers);
      print(
        `  ${asked.padEnd(10)} ${workers} worker${workers > 1 ? 's' : ' '}  ${middle(each, 'perSecond').toFixed(0).padStart(6)}/s` +
          `, CPU per request: gateway ${middle(each, 'gatewayUs').toFixed(0)} µs, callers ${middle(each, 'callersUs').toFixed(1)} µs`,
      );
    }
    const ratios = of(2).map(({ perSecond }, round) => perSecond / (of(1)[round]?.perSecond ?? Number.NaN));
    print(`  ${asked.padEnd(10)} two ÷ one  ${spread(ratios)}`);
    // Estimates the ratio if callers and node did not use the same cores.
    const free = (2 * middle(of(1), 'gatewayUs')) / middle(of(2), 'gatewayUs');
    print(
      `  ${asked.padEnd(10)} two ÷ one  ${free.toFixed(2)} estimated from the gateway's CPU, if it had both cores to itself`,
    );
  }
  const replaced = await benchReplacement(KILLS);
  print(
    `  a killed worker is replaced after ${median(replaced).toFixed(0)} ms, at most ${Math.max(...replaced).toFixed(0)} ms, of ${KILLS} kills`,
  );
}

export async function reportScrape(rounds: number): Promise<void> {
  print(
    `\n2 workers under full load, with a scrape every 250 ms or none; ${rounds} rounds of ${SECONDS} s, medians`,
  );
  const results = await benchScrape(rounds, SECONDS);
  const of = (kind: ScrapeResult['kind']): readonly ScrapeResult[] =>
    results.filter((each) => each.kind === kind);
  for (const kind of ['at peace', 'scraped', 'again'] as const)
    print(
      `  ${kind.padEnd(8)}  p50 ${middle(of(kind), 'p50Ms').toFixed(2)} ms, p99 ${middle(of(kind), 'p99Ms').toFixed(2)} ms`,
    );
  // In each round scrapes come between two runs without, so that drift of the machine affects neither difference.
  const [before, scraped, after] = [of('at peace'), of('scraped'), of('again')];
  const p99 = (results: readonly ScrapeResult[], round: number): number =>
    results[round]?.p99Ms ?? Number.NaN;
  const rows = before.map(
    (_, round) => [p99(before, round), p99(scraped, round), p99(after, round)] as const,
  );
  print(`  p99 change by scrapes  ${spread(rows.map(([a, b, c]) => b - (a + c) / 2))} ms`);
  print(`  noise: without scrapes ${spread(rows.map(([a, , c]) => c - a))} ms`);
}

function middle<K extends string>(results: readonly Readonly<Record<K, number>>[], key: K): number {
  return median(results.map((each) => each[key]));
}
