/** The benchmark results as the README shows them. */

import type { LoadResult, Results, Spread } from './results.ts';
import type { RivalName } from './rivals.ts';

const COLUMNS: readonly RivalName[] = [
  'HAProxy',
  'HAProxy, mTLS only',
  'nginx',
  'http-proxy',
  '@fastify/http-proxy',
];

/** Returns head and rows of the table of loads: patchgate's own cost, then its ratio to each rival's. */
export function measuredRows({ loads }: Results): [readonly string[], readonly (readonly string[])[]] {
  return [['load', 'patchgate', ...COLUMNS.map((name) => `÷ ${name}`), 'noise'], loads.map(row)];
}

function row({ name, unit, patchgate, rivals, noise }: LoadResult): readonly string[] {
  const ratios = COLUMNS.map((column) => {
    const rival = rivals.find((each) => each.name === column);
    if (rival === undefined) return '';
    const goal = rival.goal === undefined ? '' : `, goal ${rival.goal.toFixed(2)}`;
    return `**${rival.ratio.median.toFixed(2)}** (${range(rival.ratio)}${goal})`;
  });
  return [name, `${patchgate} ${unit}`, ...ratios, range(noise)];
}

function range({ min, max }: Spread): string {
  return `${min.toFixed(2)}–${max.toFixed(2)}`;
}

/** Goals, latency, memory, and what all of it was measured with. */
export function besideText({
  loads,
  date,
  rounds,
  requests,
  mebibytes,
  machine,
  busyBefore,
  cipher,
  versions,
  skipped,
  latency,
  memory,
}: Results): string {
  const waits = latency.sides.map(
    ({ name, p50Ms, p99Ms }) => `${name} ${p50Ms.toFixed(2)} / ${p99Ms.toFixed(2)} ms`,
  );
  const resident = memory.sides.map(
    ({ name, idleMib, kibPerStream }) => `${name} ${idleMib} MiB and ${kibPerStream} KiB`,
  );
  const used = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const load = busyBefore === undefined ? '' : ` Load average in the minute before: ${busyBefore}.`;
  return [
    goalsText(loads),
    `Latency at ${latency.requestsPerSecond} requests per second, half of patchgate's maximum (p50 / p99): ${waits.join(' · ')}.`,
    `Resident memory at rest, and at most per upload with ${memory.streams} in parallel: ${resident.join(' · ')}.`,
    `Measured ${date.slice(0, 10)} in ${rounds} rounds of ${requests} requests and streams of ${mebibytes} MiB, on ${machine} with ${cipher}: ${used.join(' · ')}.${load}`,
    ...skipped.map((reason) => `Not measured: ${reason}.`),
  ].join('\n\n');
}

/** Which goals were reached, by load. */
function goalsText(loads: Results['loads']): string {
  const goals = loads.flatMap(({ name, rivals }) =>
    rivals.flatMap(({ name: rival, ratio, goal }) =>
      goal === undefined ? [] : [{ name, rival, isMet: ratio.median <= goal }],
    ),
  );
  const missed = goals.filter(({ isMet }) => !isMet);
  const byLoad = Map.groupBy(missed, ({ name }) => name);
  const listed = [...byLoad].map(
    ([name, each]) => `${name} (against ${each.map(({ rival }) => rival).join('; ')})`,
  );
  return [
    `Goals met: ${goals.length - missed.length} of ${goals.length}.`,
    ...(listed.length > 0 ? [`Not met: ${listed.join(', ')}.`] : []),
  ].join(' ');
}
