/** Prints the results of the benches that are not part of the table. */

import { MIB } from '../../gateway/core/units.ts';
import { benchAddresses, type Measured } from './addresses.ts';
import { benchDecisions } from './decisions.ts';
import { benchHandoff, type Handover } from './handoff.ts';
import { swapLists } from './list-swap.ts';
import { streamAcross } from './long-stream.ts';
import { manyNames } from './many-names.ts';
import { median, print } from './print.ts';
import { revokeHalfWay } from './revocation.ts';
import { rotate } from './rotation.ts';
import { abortUpgrades } from './upgrades.ts';
import type { Yard } from './yard.ts';

export async function reportRotation(yard: Yard, seconds: number): Promise<void> {
  const run = await rotate(yard, seconds);
  print(`\nrotation of a chain and key every 200 ms, for ${seconds} s under load`);
  print(`  rotations            ${run.rotations}, ${run.seen} of them seen by a handshake`);
  print(`  slowest in use       ${run.slowestMs.toFixed(0)} ms after it was written`);
  print(`  handshakes           ${run.handshakes}, failed: ${run.failedHandshakes}`);
  print(`  requests             ${run.requests}, failed: ${run.failedRequests}`);
}

export async function reportManyNames(): Promise<void> {
  const found = await manyNames();
  print(`\nserver names on disk: ${found.names}, each with its own certificate and key`);
  print(
    `  start                ${found.startMs.toFixed(0)} ms; with one name ${found.startOneMs.toFixed(0)} ms`,
  );
  print(
    `  resident before use  ${(found.residentBytes / MIB).toFixed(0)} MiB; with one name ${(found.residentOneBytes / MIB).toFixed(0)} MiB`,
  );
  print(`  loaded               ${found.loadedBefore} before use, ${found.loadedAfter} afterwards`);
  print(
    `  first handshake      ${found.coldMs.toFixed(2)} ms; the next one ${found.warmMs.toFixed(2)} ms (medians)`,
  );
}

export async function reportSwaps(yard: Yard, seconds: number): Promise<void> {
  const run = await swapLists(yard, seconds);
  print(`\nswap of a list of 100,000 prefixes under load, ${run.swaps} times in half of ${seconds} s`);
  print(
    `  p99 of a request     ${run.stillP99Ms.toFixed(2)} ms without, ${run.swappingP99Ms.toFixed(2)} ms with`,
  );
  print(`  requests             ${run.requests}, refused: ${run.refused}`);
}

/** Figures published in the article that this project started from, measured on another machine. */
const ARTICLE = { prefixes: 100_000, lookupNs: 9300, bytes: 2_100_000 };

export async function reportAddresses(count: number, rounds: number): Promise<void> {
  const found = await benchAddresses(count, rounds);
  print(`\naddress lists: ${found.prefixes} mixed prefixes, medians of ${rounds} rounds`);
  print(`  ns per lookup of random addresses from newly made text; × a loop over its characters,`);
  print(`  × the row "contains", in the same round`);
  for (const { name, four, six } of found.rows)
    print(`  ${name.padEnd(26)} IPv4 ${addressColumns(four)}   IPv6 ${addressColumns(six)}`);
  const contains = found.rows.find(({ name }) => name.endsWith('contains'))?.four.ns ?? Number.NaN;
  if (count === ARTICLE.prefixes)
    print(
      `  published figures: 9.3 µs, ${(ARTICLE.lookupNs / contains).toFixed(0)} × "contains", and 2.1 MB, ${(ARTICLE.bytes / found.fourBytes).toFixed(1)} × the bytes for IPv4 alone`,
    );
  print(`  memory                     ${found.memoryNs.toFixed(0)} ns per dependent random read`);
  print(
    `  size of the list           ${found.bytes} bytes; of as many IPv4 prefixes ${found.fourBytes} bytes`,
  );
  print(
    `  built from text in         ${found.buildMs.toFixed(0)} ms, in steps of at most ${found.longestStepMs.toFixed(1)} ms (each step's best build)`,
  );
  print(
    `                             event loop blocked for at most ${found.longestTurnMs.toFixed(1)} ms, median of the builds`,
  );
}

function addressColumns({ ns, toFloor, toContains }: Measured): string {
  return [ns.toFixed(0).padStart(9), toFloor.toFixed(1).padStart(9), toContains.toFixed(1).padStart(9)].join(
    '',
  );
}

export async function reportDecisions(rounds: number): Promise<void> {
  const { fewRoutesUs, manyRoutesUs, tokenUs, noise } = await benchDecisions(rounds);
  print(`\ndecide() with a remembered token, 100,000 prefixes, µs per decision, medians of ${rounds} rounds`);
  print(`  10 routes            ${fewRoutesUs.toFixed(2)}`);
  print(
    `  1,000 routes         ${manyRoutesUs.toFixed(2)}, ${(manyRoutesUs / fewRoutesUs).toFixed(2)} × ten routes`,
  );
  print(`  token check alone    ${tokenUs.toFixed(2)}`);
  print(`  noise: the first row again ${noise.toFixed(2)} ×`);
}

export async function reportHandoff(prefixes: number, rounds: number): Promise<void> {
  const { lists, tenants, fresh, idle } = await benchHandoff(prefixes, rounds);
  print(
    `\nhandoff to 2 workers, ${rounds} times each: ms until both have it, and the longest pause of either`,
  );
  print(`                       median  worst   pause: median  worst`);
  const row = (name: string, found: readonly Handover[]): void => {
    const columns = [found.map(({ reachMs }) => reachMs), found.map(({ pauseMs }) => pauseMs)].map((each) =>
      [median(each), Math.max(...each)].map((ms) => ms.toFixed(1).padStart(7)).join(''),
    );
    print(`  ${name.padEnd(21)}${columns.join('        ')}`);
  };
  row(`${prefixes} prefixes`, lists);
  row('1,000 routes', tenants);
  row('all to a new worker', fresh);
  row('nothing, 100 ms', idle);
}

export async function reportRevocation(): Promise<void> {
  const { status, body, ms, sentBytes, nodeBytes, nodeEnd } = await revokeHalfWay();
  const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
  print(`\nan upload of 1024 MiB whose token is revoked after 512 MiB`);
  print(
    `  the caller           ${status}, ${ms.toFixed(0)} ms after the list was written, at ${mib(sentBytes)} MiB`,
  );
  print(`                       ${body}`);
  print(`  the node             ${mib(nodeBytes)} MiB, then ${nodeEnd}`);
}

/**
 * The Redis client is imported here, not at the top. It has a class that extends String; in a process with such a class
 * V8's optimizing compiler calls `charCodeAt` instead of inlining it, which would distort other benches here.
 */
export async function reportSharedLimits(): Promise<void> {
  const { costOfClaims, overshoot, waitsAcrossPause } = await import('./shared-limits.ts');
  print(`\nlimits shared through Redis: µs of a claim with its release, one at a time; CPU with 32 at once`);
  for (const { name, medianUs, gatewayCpuUs, redisCpuUs } of await costOfClaims())
    print(
      `  ${name.padEnd(29)}${medianUs.toFixed(1).padStart(7)}   gateway ${gatewayCpuUs.toFixed(1).padStart(5)}   Redis ${redisCpuUs.toFixed(1).padStart(5)}`,
    );
  print(`  three gateways, with more demand than the limit`);
  for (const { name, limit, passed } of await overshoot())
    print(
      `  ${name.padEnd(29)}${passed.toFixed(name === 'MiB' ? 2 : 0)} of ${limit}, ${((passed / limit - 1) * 100).toFixed(2)} %`,
    );
  const { before, paused, backMs } = await waitsAcrossPause();
  print(`  Redis paused for 3 s, onFailure: deny`);
  for (const [name, { requests, p99Ms, slowestMs }] of Object.entries({ before, paused }))
    print(
      `  ${name.padEnd(29)}p99 ${p99Ms.toFixed(1)} ms, slowest ${slowestMs.toFixed(1)} ms of ${requests} requests`,
    );
  print(`  shared again                 ${backMs.toFixed(0)} ms after it continued`);
}

export async function reportUpgrades(count: number): Promise<void> {
  print(`\n${count} WebSocket handshakes whose callers leave, sockets before and after`);
  const results = await abortUpgrades(count);
  for (const { name, socketsBefore, socketsAfter, nodeConnections } of results)
    print(`  ${name.padEnd(21)}${socketsBefore} → ${socketsAfter}; the node has ${nodeConnections} left`);
  if (results.length < 2) print('  http-proxy           not installed');
}

export async function reportLongStream(seconds: number): Promise<void> {
  const { bytes, reloads, isWhole } = await streamAcross(20, seconds);
  const outcome = isWhole ? 'arrived whole' : 'DID NOT ARRIVE';
  print(
    `\na stream of ${seconds} s and ${(bytes / MIB).toFixed(0)} MiB across ${reloads} reloads ${outcome}`,
  );
}
