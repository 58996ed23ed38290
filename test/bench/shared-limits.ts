/** Limits shared through Redis: cost of a claim, overshoot of three gateways, and latency while Redis is paused. */

import type { ChildProcess } from 'node:child_process';
import { LimitStore } from '../../gateway/limits/limit-store.ts';
import type { LimitClaim, LimitsBackend } from '../../gateway/limits/limits-backend.ts';
import { LocalLimits } from '../../gateway/limits/local-limits.ts';
import { SharedLimits } from '../../gateway/limits/shared-limits.ts';
import type { Quotas } from '../../gateway/policy/policy.ts';
import { cpuNs } from './cpu.ts';
import { Caller } from './load.ts';
import { HOST } from './names.ts';
import { median } from './print.ts';
import {
  BUDGET_MIB,
  GATEWAYS,
  openSharedYard,
  PLACES,
  REQUESTS,
  type SharedYard,
  startRedis,
} from './shared-yard.ts';
import { stop } from './yard.ts';

export interface ClaimCost {
  readonly name: string;
  /** Per claim and release: the median latency one at a time, and CPU of gateway and Redis with many at once. */
  readonly medianUs: number;
  readonly gatewayCpuUs: number;
  readonly redisCpuUs: number;
}

export interface Overshoot {
  readonly name: string;
  readonly limit: number;
  readonly passed: number;
}

export interface Waits {
  readonly requests: number;
  readonly p99Ms: number;
  readonly slowestMs: number;
}

export interface PauseResult {
  readonly before: Waits;
  readonly paused: Waits;
  readonly backMs: number;
}

const CLAIMS = 4000;
const AT_ONCE = 32;
const DAY_MS = 86_400_000;
const HUGE = { count: 1e12, perMs: DAY_MS };

export async function costOfClaims(): Promise<readonly ClaimCost[]> {
  const children: ChildProcess[] = [];
  try {
    const redis = await startRedis(children);
    const local = new LocalLimits();
    const store = new LimitStore({ redis: redis.url, prefix: 'bench:', onFailure: 'local' }, () => undefined);
    await store.open();
    const shared = new SharedLimits(store, local, 'local');
    const pid = redis.child.pid ?? 0;
    const found: ClaimCost[] = [];
    const all = { requests: HUGE, concurrent: 1_000_000, bytes: HUGE };
    found.push(await costOf('in the process, all limits', local, all, pid));
    found.push(await costOf('Redis, requests', shared, { requests: HUGE }, pid));
    found.push(await costOf('Redis, requests and places', shared, { requests: HUGE, concurrent: 1e6 }, pid));
    found.push(await costOf('Redis, all limits', shared, all, pid));
    found.push(await costOf('Redis, bytes alone (a chunk)', shared, { bytes: HUGE }, pid));
    shared.close();
    return found;
  } finally {
    for (const child of children) await stop(child);
  }
}

async function costOf(
  name: string,
  limits: LimitsBackend,
  quotas: Quotas,
  redisPid: number,
): Promise<ClaimCost> {
  const claim: LimitClaim = { holder: name, limits: quotas, declaredBytes: 0 };
  await together(limits, claim, CLAIMS);
  const times: number[] = [];
  for (let claims = 0; claims < CLAIMS; claims++) {
    const beganMs = performance.now();
    await once(limits, claim);
    times.push((performance.now() - beganMs) * 1000);
  }
  const [gatewayNs, redisNs] = [cpuNs(process.pid), cpuNs(redisPid)];
  await together(limits, claim, CLAIMS * 4);
  return {
    name,
    medianUs: median(times),
    gatewayCpuUs: (cpuNs(process.pid) - gatewayNs) / (CLAIMS * 4) / 1000,
    redisCpuUs: (cpuNs(redisPid) - redisNs) / (CLAIMS * 4) / 1000,
  };
}

async function together(limits: LimitsBackend, claim: LimitClaim, claims: number): Promise<void> {
  let left = claims;
  const work = async (): Promise<void> => {
    while (left-- > 0) await once(limits, claim);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function once(limits: LimitsBackend, claim: LimitClaim): Promise<void> {
  const asked = limits.claim(claim, performance.now());
  const lease = asked instanceof Promise ? await asked : asked;
  if (lease.kind === 'refusal')
    throw new Error(`${claim.holder}: refused by ${lease.limit}, ${lease.backend}`);
  lease.release(1000, performance.now());
}

/** Exceeds each limit through all gateways at once. Resolves to what passed. */
export async function overshoot(): Promise<readonly Overshoot[]> {
  const yard = await openSharedYard();
  try {
    const { reached } = yard;
    await askAll(yard, 8, '/requests', (count) => count < REQUESTS / 20);
    const requests = reached.requests;
    const untilMs = performance.now() + 5000;
    reached.mostAtOnce = 0;
    await askAll(yard, 16, '/places', () => performance.now() < untilMs);
    const { mostAtOnce } = reached;
    reached.bytes = 0;
    await Promise.all(Array.from({ length: GATEWAYS * 2 }, (_, index) => pour(yard, index % GATEWAYS)));
    return [
      { name: 'requests', limit: REQUESTS, passed: requests },
      { name: 'requests at once', limit: PLACES, passed: mostAtOnce },
      { name: 'MiB', limit: BUDGET_MIB, passed: reached.bytes / 1024 / 1024 },
    ];
  } finally {
    await yard.close();
  }
}

/** Runs callers while Redis is paused for three seconds. `backMs`: from its end to the last 503. */
export async function waitsAcrossPause(): Promise<PauseResult> {
  const yard = await openSharedYard();
  try {
    const waits: { readonly endedMs: number; readonly ms: number; readonly status: number }[] = [];
    let isOver = false;
    const load = askAll(
      yard,
      4,
      '/wide',
      () => !isOver,
      (ms, status) => {
        waits.push({ endedMs: performance.now(), ms, status });
      },
    );
    await sleep(5000);
    const pausedMs = performance.now();
    yard.redis.kill('SIGSTOP');
    await sleep(3000);
    yard.redis.kill('SIGCONT');
    const resumedMs = performance.now();
    await sleep(4000);
    isOver = true;
    await load;
    const lastDenied = Math.max(
      ...waits.filter(({ status }) => status === 503).map(({ endedMs }) => endedMs),
    );
    return {
      before: waitsOf(waits.filter(({ endedMs }) => endedMs > pausedMs - 3000 && endedMs < pausedMs)),
      paused: waitsOf(waits.filter(({ endedMs }) => endedMs >= pausedMs && endedMs < resumedMs)),
      backMs: lastDenied - resumedMs,
    };
  } finally {
    await yard.close();
  }
}

function waitsOf(waits: readonly { readonly ms: number }[]): Waits {
  const sorted = waits.map(({ ms }) => ms).sort((a, b) => a - b);
  return {
    requests: sorted.length,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    slowestMs: sorted.at(-1) ?? 0,
  };
}

async function askAll(
  yard: SharedYard,
  callersEach: number,
  path: string,
  goesOn: (asked: number) => boolean,
  onAnswer: (ms: number, status: number) => void = () => undefined,
): Promise<void> {
  const work = async (_: unknown, index: number): Promise<void> => {
    const caller = new Caller(await yard.connect(index % GATEWAYS), undefined);
    for (let asked = 0; goesOn(asked); asked++) {
      const beganMs = performance.now();
      const { status } = await caller.get(path);
      onAnswer(performance.now() - beganMs, status);
      // Keeps refused requests from making up the load.
      if (status !== 200) await sleep(2);
    }
    caller.close();
  };
  await Promise.all(Array.from({ length: GATEWAYS * callersEach }, work));
}

/** Sends a chunked body as fast as the gateway takes it, until the gateway answers or closes the connection. */
async function pour(yard: SharedYard, gateway: number): Promise<void> {
  const socket = await yard.connect(gateway);
  const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000), Buffer.from('\r\n')]);
  let isOver = false;
  const over = new Promise<void>((resolve) => {
    const end = (): void => {
      isOver = true;
      resolve();
    };
    socket.once('data', end);
    socket.once('close', end);
  });
  socket.on('error', () => undefined);
  socket.write(`PUT /bytes HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  while (!isOver) {
    if (socket.write(piece)) await sleep(0);
    else await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), over]);
  }
  socket.destroy();
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
