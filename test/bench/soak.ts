/** Minutes of mixed load: growth of the gateway, and what remains in it after all callers have left. */

import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setInterval as every } from 'node:timers/promises';
import { MIB } from '../../gateway/core/units.ts';
import { processesOf, residentTogether } from './cpu.ts';
import type { Caller } from './load.ts';
import { requireStatus, withCaller } from './measure.ts';
import { HOST } from './names.ts';
import { patchStream } from './patch-stream.ts';
import { download, upload } from './stream-loads.ts';
import { percentile, replace, sleep } from './waits.ts';
import { openYard, type Yard } from './yard.ts';

/** Means of a period, and the number of caller sessions in it. */
export interface SoakSample {
  readonly residentMib: number;
  readonly descriptors: number;
  /** Median time of a request to the admin listener, which waits for the event loop like all others. */
  readonly delayMs: number;
  readonly requests: number;
}

export interface SoakResult {
  /** Growth over the second half of the run, from a straight line fitted to it. */
  readonly growth: Omit<SoakSample, 'requests'>;
  /** Connections and streams that the gateway still counts after all callers have left, and its open descriptors. */
  readonly left: readonly [connections: number, streams: number];
  readonly descriptors: readonly [before: number, after: number];
  /** What exceeded its bound. */
  readonly faults: readonly string[];
}

/** Most growth in the second half; the gateway does not have the machine to itself. */
export const SOAK_BOUNDS = { residentMib: 24, descriptors: 20, delayMs: 25 } as const;
const SAMPLE_MS = 1000;
const PROBE_MS = 50;
/** Descriptors that may stay open: kept connections to the node, and files. */
const KEPT_DESCRIPTORS = 40;
const CUT = Buffer.alloc(64 * 1024, 'w');

/** The kinds of callers. Each starts again after a pause, so that no kind takes all resources. */
function kinds(
  yard: Yard,
  patch: readonly Buffer[],
): readonly [pauseMs: number, work: () => Promise<void>][] {
  const whole = patch.reduce((sum, piece) => sum + piece.length, 0);
  const side = yard.patchgate;
  const small = async (): Promise<void> =>
    withCaller(yard, side, async (caller) => {
      for (let left = 200; left > 0; left--)
        requireStatus(await caller.get(`/v1/models/bench?n=${left}`), 200, 'a small request');
    });
  return [
    [10, small],
    [10, small],
    [100, () => withCaller(yard, side, (caller) => upload(caller, '/deep/bench', patch, whole))],
    [100, () => withCaller(yard, side, (caller) => download(caller, 8 * MIB))],
    [20, () => withCaller(yard, side, (caller) => refused(caller))],
    [20, () => abort(yard)],
    [20, () => withCaller(yard, side, async (caller) => void (await caller.get('/v1/models/bench')))],
  ];
}

async function refused(caller: Caller): Promise<void> {
  const answer = await caller.put('/checked/another', 'application/octet-stream', [], 0);
  requireStatus(answer, 403, 'a model the token is not for');
}

/** Aborts an upload. */
async function abort(yard: Yard): Promise<void> {
  const socket = await yard.connect(yard.patchgate);
  const fields = `Host: ${HOST}\r\nAuthorization: Bearer ${yard.token}\r\nContent-Length: ${MIB}\r\n`;
  socket.write(`PUT /up HTTP/1.1\r\n${fields}\r\n`);
  socket.write(CUT);
  await sleep(20);
  socket.destroy();
}

/** Runs the load. Calls `onMinute` at the end of each minute. */
export async function soak(
  minutes: number,
  onMinute: (minute: number, sample: SoakSample) => void,
): Promise<SoakResult> {
  const yard = await openYard();
  try {
    const before = descriptorsOf(yard);
    const patch = await patchStream('bench', 8);
    const untilMs = performance.now() + minutes * 60_000;
    let requests = 0;
    const work = kinds(yard, patch).map(async ([pauseMs, turn]) => {
      for (; performance.now() < untilMs; await sleep(pauseMs)) {
        await turn();
        requests += 1;
      }
    });
    const samples: SoakSample[] = [];
    let minute: SoakSample[] = [];
    let minutesTold = 0;
    const watching = watch(
      yard,
      untilMs,
      () => requests,
      (sample, leftMs) => {
        samples.push(sample);
        minute.push(sample);
        if (minutes - leftMs / 60_000 < minutesTold + 1) return;
        onMinute(++minutesTold, together(minute));
        minute = [];
      },
    );
    await Promise.all([...work, reloads(yard, untilMs), watching]);
    await sleep(3000);
    return judge(samples, await leftIn(yard), [before, descriptorsOf(yard)]);
  } finally {
    await yard.close();
  }
}

/** Changes the list and reloads the policy every 5 s. */
async function reloads(yard: Yard, untilMs: number): Promise<void> {
  const list = await readFile(yard.addressList, 'utf8');
  for (let turn = 0; performance.now() < untilMs; turn++) {
    await replace(yard.addressList, `${list}203.0.113.${turn % 256}/32\n`);
    const { status } = await fetch(`${yard.admin}/reload`, { method: 'POST' });
    if (status !== 200) throw new Error(`reload: expected 200, got ${status}`);
    await sleep(5000);
  }
}

async function watch(
  yard: Yard,
  untilMs: number,
  requests: () => number,
  onSample: (sample: SoakSample, leftMs: number) => void,
): Promise<void> {
  const delays: number[] = [];
  let [before, dueMs] = [0, performance.now() + SAMPLE_MS];
  for await (const _ of every(PROBE_MS)) {
    const fromMs = performance.now();
    await (await fetch(`${yard.admin}/livez`)).text();
    delays.push(performance.now() - fromMs);
    if (performance.now() < dueMs) continue;
    dueMs += SAMPLE_MS;
    const residentMib = residentTogether(yard.patchgate.pid) / MIB;
    const delayMs = percentile(delays.splice(0), 0.5);
    const sample = { residentMib, descriptors: descriptorsOf(yard), delayMs, requests: requests() - before };
    before = requests();
    const leftMs = untilMs - performance.now();
    onSample(sample, leftMs);
    if (leftMs <= 0) return;
  }
}

function descriptorsOf({ patchgate }: Yard): number {
  return processesOf(patchgate.pid).reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0);
}

async function leftIn({ admin }: Yard): Promise<readonly [number, number]> {
  const text = await (await fetch(`${admin}/metrics`)).text();
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].reduce(
      (total, [, value]) => total + Number(value),
      0,
    );
  return [sum('patchgate_open_connections'), sum('patchgate_streams_active')];
}

/** Returns the means, and the sum of requests. */
function together(samples: readonly SoakSample[]): SoakSample {
  const mean = (key: keyof SoakSample): number =>
    samples.reduce((sum, each) => sum + each[key], 0) / samples.length;
  return {
    residentMib: mean('residentMib'),
    descriptors: mean('descriptors'),
    delayMs: mean('delayMs'),
    requests: mean('requests') * samples.length,
  };
}

function judge(
  samples: readonly SoakSample[],
  left: SoakResult['left'],
  descriptors: SoakResult['descriptors'],
): SoakResult {
  const half = samples.slice(samples.length / 2);
  const growthOf = (key: keyof typeof SOAK_BOUNDS): number =>
    slope(half.map((each) => each[key])) * (half.length - 1);
  const growth = {
    residentMib: growthOf('residentMib'),
    descriptors: growthOf('descriptors'),
    delayMs: growthOf('delayMs'),
  };
  const faults = Object.entries(SOAK_BOUNDS)
    .filter(([key, bound]) => growth[key as keyof typeof SOAK_BOUNDS] > bound)
    .map(([key, bound]) => `${key} grew by more than ${bound} in the second half`);
  if (left.some((count) => count > 0))
    faults.push('connections or streams remain after all callers have left');
  if (descriptors[1] - descriptors[0] > KEPT_DESCRIPTORS) faults.push('descriptors remain open');
  return { growth, left, descriptors, faults };
}

/** Returns the slope per sample, by least squares. */
function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const [over, under] = values.reduce(
    ([a, b], value, at) => [a + (at - middle) * (value - mean), b + (at - middle) ** 2],
    [0, 0],
  );
  return over / under;
}
