/** Measures how long it takes until a killed worker is replaced. */

import { sleep } from './waits.ts';
import { openYard, type Yard } from './yard.ts';

interface Status {
  readonly pid: number;
  readonly accepting: boolean;
}

const WORKERS = 2;
const LOOK_MS = 2;
/** Time for the next spare to become ready; workers do not fail faster than that by accident. */
const REST_MS = 4000;

/** Resolves to the milliseconds until all workers accept connections again, for each kill. */
export async function benchReplacement(kills: number): Promise<readonly number[]> {
  const yard = await openYard(WORKERS);
  const found: number[] = [];
  try {
    for (let kill = 0; kill < kills; kill += 1) {
      await sleep(REST_MS);
      const [victim] = await workersOf(yard);
      if (victim === undefined) throw new Error('no workers');
      process.kill(victim.pid, 'SIGKILL');
      const fromMs = performance.now();
      for (;;) {
        const now = await workersOf(yard);
        const isWhole = now.length === WORKERS && now.every(({ accepting }) => accepting);
        if (isWhole && !now.some(({ pid }) => pid === victim.pid)) break;
        await sleep(LOOK_MS);
      }
      found.push(performance.now() - fromMs);
    }
  } finally {
    await yard.close();
  }
  return found;
}

async function workersOf({ admin }: Yard): Promise<readonly Status[]> {
  const { workers } = (await (await fetch(`${admin}/policy`)).json()) as { workers: readonly Status[] };
  return workers;
}
