/** One and two workers: requests per second, and the effect of a scrape on the latency of requests. */

import type { TLSSocket } from 'node:tls';
import { holdEach } from './core-shares.ts';
import { cpuNs, processesOf } from './cpu.ts';
import { Caller } from './load.ts';
import { requireStatus } from './measure.ts';
import { HOST } from './names.ts';
import { openYard, type Yard } from './yard.ts';

/** The kind of request: `forwarded` goes to the node and back; `refused` (403 by a claim) costs the gateway alone. */
export type Asked = 'forwarded' | 'refused';

export interface Throughput {
  readonly workers: number;
  readonly asked: Asked;
  readonly perSecond: number;
  /** CPU per request of all processes of the gateway. */
  readonly gatewayUs: number;
  /** CPU per request of the callers, which run in this process. */
  readonly callersUs: number;
}

/** Enough for the kernel to distribute them about evenly among the workers. */
export const CONNECTIONS = 64;
/** Requests per write; with so many the callers cost little CPU. */
export const DEPTH = 32;
const MARK = Buffer.from('HTTP/1.1 ');

/** Sends requests in batches, each when the one before is answered, and counts the answers. */
class PipelinedCaller {
  answered = 0;
  readonly #socket: TLSSocket;
  readonly #batch: Buffer;
  readonly #status: string;
  #waiting = 0;
  #stopped = false;

  constructor(socket: TLSSocket, request: string, status: string) {
    this.#socket = socket;
    this.#batch = Buffer.from(request.repeat(DEPTH));
    this.#status = status;
    let tail: Buffer = Buffer.alloc(0);
    socket.on('data', (piece: Buffer) => {
      const bytes = tail.length === 0 ? piece : Buffer.concat([tail, piece]);
      let [at, after] = [bytes.indexOf(MARK), 0];
      // An incomplete status is counted with the next piece.
      for (; at >= 0 && at + MARK.length + 3 <= bytes.length; at = bytes.indexOf(MARK, after)) {
        after = at + MARK.length + 3;
        this.#count(bytes.toString('latin1', at + MARK.length, after));
      }
      tail = bytes.subarray(Math.max(after, bytes.length - MARK.length - 3));
    });
    this.#send();
  }

  stop(): void {
    this.#stopped = true;
    this.#socket.destroy();
  }

  #send(): void {
    this.#waiting = DEPTH;
    this.#socket.write(this.#batch);
  }

  #count(status: string): void {
    if (status !== this.#status) throw new Error(`expected ${this.#status}, got ${status}`);
    this.answered += 1;
    this.#waiting -= 1;
    if (this.#waiting === 0 && !this.#stopped) this.#send();
  }
}

/** Share of a core for each worker; two workers leave one of two cores to the callers and the node. */
export const SHARE = 0.5;

/**
 * Measures each kind and number of workers, one at a time, in every round. `areHeld`: whether each worker was limited
 * to its share of a core; if not, callers and node competed with the workers for the same cores.
 */
export async function benchWorkers(
  rounds: number,
  seconds: number,
): Promise<{ readonly results: readonly Throughput[]; readonly areHeld: boolean }> {
  const yards = [await openYard(1), await openYard(2)];
  const releases = yards.map(({ patchgate: { pid } }) => holdEach(workersOf(pid), SHARE));
  const results: Throughput[] = [];
  try {
    for (let round = 0; round < rounds; round += 1)
      for (const asked of ['forwarded', 'refused'] as const)
        for (const [at, yard] of yards.entries())
          results.push({ workers: at + 1, asked, ...(await throughput(yard, asked, seconds)) });
  } finally {
    for (const release of releases) release?.();
    for (const yard of yards) await yard.close();
  }
  return { results, areHeld: releases.every((release) => release !== undefined) };
}

/** Returns the worker processes: the gateway process itself for one worker, its children for several. */
function workersOf(pid: number): readonly number[] {
  const [primary, ...children] = processesOf(pid);
  return children.length > 0 || primary === undefined ? children : [primary];
}

async function throughput(yard: Yard, asked: Asked, seconds: number) {
  const line = asked === 'forwarded' ? 'GET /v1/models/bench' : 'PUT /checked/another';
  const length = asked === 'forwarded' ? '' : 'Content-Length: 0\r\n';
  const request = `${line} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${yard.token}\r\n${length}\r\n`;
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => yard.connect(yard.patchgate)));
  const callers = sockets.map(
    (socket) => new PipelinedCaller(socket, request, asked === 'forwarded' ? '200' : '403'),
  );
  const answered = (): number => callers.reduce((sum, caller) => sum + caller.answered, 0);
  await wait(1000);
  const pids = processesOf(yard.patchgate.pid);
  const before = {
    answered: answered(),
    gateway: cpuOf(pids),
    callers: cpuNs(process.pid),
    ms: performance.now(),
  };
  await wait(seconds * 1000);
  const count = answered() - before.answered;
  const measured = {
    perSecond: (count * 1000) / (performance.now() - before.ms),
    gatewayUs: (cpuOf(pids) - before.gateway) / 1000 / count,
    callersUs: (cpuNs(process.pid) - before.callers) / 1000 / count,
  };
  for (const caller of callers) caller.stop();
  return measured;
}

export interface ScrapeResult {
  /** `again`: without scrapes, like `at peace`, to show the noise. */
  readonly kind: 'at peace' | 'scraped' | 'again';
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
}

const SCRAPE_MS = 250;

/** Measures two workers under full load, in every round without scrapes, with one every 250 ms, and without again. */
export async function benchScrape(rounds: number, seconds: number): Promise<readonly ScrapeResult[]> {
  const yard = await openYard(2);
  const results: ScrapeResult[] = [];
  try {
    await latencies(yard, 1);
    for (let round = 0; round < rounds; round += 1)
      for (const kind of ['at peace', 'scraped', 'again'] as const)
        results.push(await underLoad(yard, kind, seconds));
  } finally {
    await yard.close();
  }
  return results;
}

async function underLoad(yard: Yard, kind: ScrapeResult['kind'], seconds: number): Promise<ScrapeResult> {
  const timer = kind === 'scraped' ? setInterval(() => void scrape(yard), SCRAPE_MS) : undefined;
  const sorted = (await latencies(yard, seconds)).sort((a, b) => a - b);
  clearInterval(timer);
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? 0;
  return { kind, p50Ms: at(0.5), p99Ms: at(0.99), requests: sorted.length };
}

/** Ignores failures, since the gateway may end during the last scrape. */
async function scrape({ admin }: Yard): Promise<void> {
  await fetch(`${admin}/metrics`)
    .then((response) => response.text())
    .catch(() => undefined);
}

async function latencies(yard: Yard, seconds: number): Promise<number[]> {
  const found: number[] = [];
  const untilMs = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const caller = new Caller(await yard.connect(yard.patchgate), yard.token);
      for (let startMs = performance.now(); startMs < untilMs; ) {
        requireStatus(await caller.get('/v1/models/bench'), 200, 'a small request');
        const nowMs = performance.now();
        found.push(nowMs - startMs);
        startMs = nowMs;
      }
      caller.close();
    }),
  );
  return found;
}

function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuNs(pid), 0);
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
