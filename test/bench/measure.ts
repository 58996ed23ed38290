/** What all loads share: callers on kept connections, and the CPU time of one side while they run. */

import { cpuNs } from './cpu.ts';
import { type Answer, Caller } from './load.ts';
import type { RivalName } from './rivals.ts';
import type { Side, Yard } from './yard.ts';

/** One kind of load; `run` resolves to the CPU time of the side per unit of work. */
export interface Load {
  readonly name: string;
  readonly unit: 'µs' | 's/GiB';
  /** Rivals that patchgate is compared with. */
  readonly rivals: readonly RivalName[];
  /** Target ratios of patchgate's CPU time to the rival's, by rival. */
  readonly goals: Readonly<Partial<Record<RivalName, number>>>;
  run(yard: Yard, side: Side): Promise<number>;
  /** Runs on each side before the first round, so that its code is warm. */
  warmUp?(yard: Yard, side: Side): Promise<void>;
}

/** Resolves to the side's CPU time during `work`, in nanoseconds. */
export async function measured(side: Side, work: () => Promise<void>): Promise<number> {
  const before = cpuNs(side.pid);
  await work();
  return cpuNs(side.pid) - before;
}

export function requireStatus(answer: Answer, status: number, what: string): void {
  if (answer.status !== status)
    throw new Error(`${what}: expected ${status}, got ${answer.status}: ${answer.body}`);
}

export async function openCallers(yard: Yard, side: Side, count: number): Promise<readonly Caller[]> {
  const sockets = await Promise.all(Array.from({ length: count }, () => yard.connect(side)));
  return sockets.map((socket) => new Caller(socket, yard.token));
}

/** Runs `work` with one caller, then closes it. */
export async function withCaller<T>(
  yard: Yard,
  side: Side,
  work: (caller: Caller) => Promise<T>,
): Promise<T> {
  const caller = new Caller(await yard.connect(side), yard.token);
  try {
    return await work(caller);
  } finally {
    caller.close();
  }
}
