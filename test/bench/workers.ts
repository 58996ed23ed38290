/** Two workers beside one: requests a second, and what a scrape does to those that run meanwhile. */

import type { TLSSocket } from 'node:tls';
import { holdEach } from './core-shares.ts';
import { cpuNs, processesOf } from './cpu.ts';
import { Caller } from './load.ts';
import { requireStatus } from './measure.ts';
import { HOST } from './names.ts';
import { openYard, type Yard } from './yard.ts';

/** What is asked for: `forwarded` goes to the node and back, `refused` (403, the whole decision) is the gateway's work alone. */
export type Asked = 'forwarded' | 'refused';

export interface Throughput {
  readonly workers: number;
  readonly asked: Asked;
  readonly perSecond: number;
  /** CPU of all processes of the gateway. */
  readonly gatewayUs: number;
  /** CPU of the callers, which run in this process. */
  readonly callersUs: number;
}

/** So many that what the kernel gives to each worker is about the same. */
export const CONNECTIONS = 64;
/** Requests that leave in one write: what callers cost is little then, and their core is the gateway's. */
export const DEPTH = 32;
const MARK = Buffer.from('HTTP/1.1 ');

/** Sends requests in batches, the next when all of one are answered, and counts. */
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
      // A status that is not whole yet is counted with the next piece.
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
    if (status !== this.#status) throw new Error(`answered ${status}, not ${this.#status}`);
    this.answered += 1;
    this.#waiting -= 1;
    if (this.#waiting === 0 && !this.#stopped) this.#send();
  }
}

/** Of a core, for each worker: two together leave one for the callers and the node. */
export const SHARE = 0.5;

/**
 * So many rounds of each, one after the other, with everything else at rest. `areHeld`: each worker had its share of a
 * core and no more; otherwise callers and node took from the same cores as the workers.
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

/** One worker is the process itself; several are its children. */
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
  /** `again`: without a scrape, as `at peace`, for the noise. */
  readonly kind: 'at peace' | 'scraped' | 'again';
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
}

const SCRAPE_MS = 250;

/** Two workers under all the load that callers can make, with a scrape each quarter of a second and without, each between two without. */
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

/** The last one may meet the end of the gateway. */
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
