/** A reload every second at full load, each with a changed policy and list of 100,000 prefixes: failures and p99. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { keepAsking, nothingSeen, percentile, replace, type Seen, sleep } from './waits.ts';
import { openYard, type Yard } from './yard.ts';

export interface StormResult {
  readonly workers: number;
  readonly reloads: number;
  readonly requests: number;
  readonly failed: number;
  /** p99 in milliseconds of each turn without and of each turn with reloads. */
  readonly stillMs: readonly number[];
  readonly reloadingMs: readonly number[];
}

export const STORM_GOAL_MS = 5;
const EVERY_MS = 1000;
const CALLERS = 16;
const TURNS = 6;
const WARM_MS = 2000;

/** Alternates turns without and with reloads, `seconds` of each in all. Rejects if a reload has no effect. */
export async function stormOf(workers: number, seconds: number): Promise<StormResult> {
  const yard = await openYard(workers);
  const storm = await Storm.prepare(yard);
  let seen: Seen = nothingSeen();
  let isOver = false;
  const load = Array.from({ length: CALLERS }, () =>
    keepAsking(
      yard,
      () => seen,
      () => !isOver,
    ),
  );
  const still: Seen[] = [];
  const reloading: Seen[] = [];
  try {
    await sleep(WARM_MS);
    for (let turn = 0; turn < TURNS * 2; turn++) {
      seen = nothingSeen();
      const untilMs = performance.now() + (seconds * 1000) / TURNS;
      if (turn % 2 === 0) await sleep(Math.max(0, untilMs - performance.now()));
      else await storm.until(untilMs);
      (turn % 2 === 0 ? still : reloading).push(seen);
    }
  } finally {
    isOver = true;
    await Promise.all(load);
    await yard.close();
  }
  const p99 = ({ tookMs }: Seen): number => percentile(tookMs, 0.99);
  const all = [...still, ...reloading];
  return {
    workers,
    reloads: storm.reloads,
    requests: all.reduce((sum, { tookMs }) => sum + tookMs.length, 0),
    failed: all.reduce((sum, { failed }) => sum + failed, 0),
    stillMs: still.map(p99),
    reloadingMs: reloading.map(p99),
  };
}

class Storm {
  reloads = 0;
  readonly #yard: Yard;
  readonly #tenantFile: string;
  readonly #policy: string;
  /** Two lists that share the callers' prefix, but hardly any other. */
  readonly #lists: readonly [string, string];
  #generation = 0;

  static async prepare(yard: Yard): Promise<Storm> {
    const tenantFile = join(yard.folder, 'policies', 'tenants', 'bench.yaml');
    return new Storm(
      yard,
      tenantFile,
      await readFile(tenantFile, 'utf8'),
      await readFile(yard.addressList, 'utf8'),
    );
  }

  private constructor(yard: Yard, tenantFile: string, policy: string, list: string) {
    this.#yard = yard;
    this.#tenantFile = tenantFile;
    this.#policy = policy;
    this.#lists = [list, list.replaceAll(/^(?=1\d\.)/gm, '1')];
  }

  async until(untilMs: number): Promise<void> {
    for (let dueMs = performance.now(); dueMs < untilMs; dueMs += EVERY_MS) {
      await sleep(Math.max(0, dueMs - performance.now()));
      await this.#reload();
    }
    await sleep(Math.max(0, untilMs - performance.now()));
  }

  /** Reloads with a new route, and with the other of the two lists. */
  async #reload(): Promise<void> {
    this.reloads += 1;
    const list = this.#lists[this.reloads % 2] ?? '';
    const route = `  - { name: turn-${this.reloads}, match: { methods: [GET], path: '/turn/${this.reloads}' }, require: { scope: read }, upstream: sync }\n`;
    await replace(this.#yard.addressList, list);
    await replace(this.#tenantFile, this.#policy + route);
    const response = await fetch(`${this.#yard.admin}/reload`, { method: 'POST' });
    const told = (await response.json()) as { generation: number; faults: readonly unknown[] };
    if (told.generation <= this.#generation || told.faults.length > 0)
      throw new Error(`a reload had no effect: ${JSON.stringify(told)}`);
    this.#generation = told.generation;
  }
}
