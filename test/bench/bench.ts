/** `npm run bench`: CPU, latency and memory of the gateway and of others doing the same work, in one run. */

import { parseArgs } from 'node:util';
import { MIB } from '../../gateway/core/units.ts';
import { reportChaos, reportIdle, reportSoak, reportStorm } from './endurance-reports.ts';
import { reportResumption } from './handshake-loads.ts';
import { measureLatency, printLatency } from './latency.ts';
import { measureMemory, printMemory, reportResident } from './memory.ts';
import { reportLargeModel, reportPatches, reportWholeUpdate } from './patch-reports.ts';
import { print } from './print.ts';
import {
  reportAddresses,
  reportDecisions,
  reportHandoff,
  reportLongStream,
  reportManyNames,
  reportRevocation,
  reportRotation,
  reportSharedLimits,
  reportSwaps,
  reportUpgrades,
} from './reports.ts';
import { openRivals, type RivalName, type Rivals } from './rivals.ts';
import { printLoad, runLoad } from './rounds.ts';
import { requireSameWork, warmUp } from './same-work.ts';
import { buildShipped } from './shipped.ts';
import { allLoads, keep, runTable, type TableOptions, versionsOf } from './table.ts';
import { reportScrape, reportWorkers } from './worker-reports.ts';
import { openYard, type Yard } from './yard.ts';

const RIVALS: readonly RivalName[] = [
  'HAProxy',
  'HAProxy, mTLS only',
  'nginx',
  'http-proxy',
  '@fastify/http-proxy',
];

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    requests: { type: 'string', default: '8000' },
    mebibytes: { type: 'string', default: '256' },
    gibibytes: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '60' },
    minutes: { type: 'string', default: '30' },
    upgrades: { type: 'string', default: '10000' },
    only: { type: 'string', default: '' },
    /** Name of a rival, as printed; may be repeated. */
    against: { type: 'string', multiple: true, default: [...RIVALS] },
    /** A folder in which `npm install fastify @fastify/http-proxy` was run. */
    rivals: { type: 'string', default: '.' },
  },
});
for (const name of values.against)
  if (!RIVALS.some((rival) => rival === name))
    throw new Error(`--against: expected one of ${RIVALS.join('; ')}, got ${name}`);
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const options: TableOptions = {
  rounds,
  requests: Number(values.requests),
  streamBytes: Number(values.mebibytes) * MIB,
};

/** Whether `--only` is a prefix of the name. */
function wanted(name: string): boolean {
  return values.only !== '' && name.startsWith(values.only);
}

/** Parts that do not need the yard, by name; `patches` has another part that does. */
const APART: Readonly<Record<string, () => Promise<void>>> = {
  patches: () => reportPatches(Math.max(rounds, 10)),
  'large model': reportLargeModel,
  'server names': reportManyNames,
  revocation: reportRevocation,
  'shared-limits': reportSharedLimits,
  upgrades: () => reportUpgrades(Number(values.upgrades)),
  'long stream': () => reportLongStream(seconds),
  workers: () => reportWorkers(rounds),
  chaos: reportChaos,
  idle: reportIdle,
  soak: () => reportSoak(Number(values.minutes)),
  'reload storm': () => reportStorm(seconds),
  scrape: () => reportScrape(rounds),
  decisions: () => reportDecisions(Math.max(rounds, 10)),
  handoff: () => forBoth((count) => reportHandoff(count, Math.max(rounds, 10))),
  addresses: () => forBoth((count) => reportAddresses(count, Math.max(rounds, 10))),
};

async function forBoth(report: (prefixes: number) => Promise<void>): Promise<void> {
  for (const prefixes of [100_000, 1_000_000]) await report(prefixes);
}

/** Runs the selected parts of the table, and other parts that need the yard. */
async function reportParts(yard: Yard, { running }: Rivals): Promise<void> {
  const sides = [yard.patchgate, ...running];
  if (wanted('memory')) printMemory(await measureMemory(yard, sides));
  await warmUp(yard, sides);
  for (const load of (await allLoads(options)).filter(({ name }) => wanted(name)))
    printLoad(await runLoad(yard, load, running, rounds));
  if (wanted('latency')) printLatency(await measureLatency(yard, sides, rounds));
  if (wanted('handshake')) {
    const haproxy = running.filter(({ name }) => name === 'HAProxy');
    await reportResumption(yard, [yard.patchgate, ...haproxy], rounds);
  }
  if (wanted('patches')) await reportWholeUpdate(yard, rounds);
  if (wanted('resident')) await reportResident(yard, Number(values.gibibytes));
  if (wanted('rotation')) await reportRotation(yard, seconds);
  if (wanted('swap')) await reportSwaps(yard, seconds);
}

async function reportTogether(): Promise<void> {
  const yard = await openYard();
  try {
    const rivals = await openRivals(
      yard,
      RIVALS.filter((name) => values.against.includes(name)),
      values.rivals,
    );
    for (const [name, version] of Object.entries(versionsOf(rivals.running))) print(`${name}: ${version}`);
    for (const reason of rivals.skipped) print(`skipped: ${reason}`);
    const cipher = await requireSameWork(yard, rivals.running);
    print(
      `all: mutual TLS, ${cipher}, kept connections to the node; patchgate and HAProxy: 100,000 prefixes,`,
    );
    print('ES256 token, one log line per request');
    if (values.only === '') keep(await runTable(yard, rivals, cipher, options));
    else await reportParts(yard, rivals);
  } finally {
    await yard.close();
  }
}

buildShipped();
print(`Node ${process.versions.node}; gateways run as installed, from dist/, built just now`);
const apart = Object.keys(APART).filter(wanted);
for (const name of apart) await APART[name]?.();
if (apart.length === 0 || apart.includes('patches')) await reportTogether();
