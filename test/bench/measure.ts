/** What every load is made of: callers on kept connections, and the CPU time of one side while they work. */

import { cpuNs } from './cpu.ts';
import { type Answer, Caller } from './load.ts';
import type { RivalName } from './rivals.ts';
import type { Side, Yard } from './yard.ts';

/** One kind of load; `run` resolves to CPU time of the side per unit of work. */
export interface Load {
  readonly name: string;
  readonly unit: 'µs' | 's/GiB';
  /** Whom patchgate is compared with here. */
  readonly rivals: readonly RivalName[];
  /** The ratios to reach (PERFORMANCE §6), by rival. */
  readonly goals: Readonly<Partial<Record<RivalName, number>>>;
  run(yard: Yard, side: Side): Promise<number>;
  /** Before the first round, on each side: what it does by then it has done often enough. */
  warmUp?(yard: Yard, side: Side): Promise<void>;
}

/** Nanoseconds of CPU. */
export async function measured(side: Side, work: () => Promise<void>): Promise<number> {
  const before = cpuNs(side.pid);
  await work();
  return cpuNs(side.pid) - before;
}

export function requireStatus(answer: Answer, status: number, what: string): void {
  if (answer.status !== status) throw new Error(`${what}: ${answer.status}, not ${status}: ${answer.body}`);
}

export async function openCallers(yard: Yard, side: Side, count: number): Promise<readonly Caller[]> {
  const sockets = await Promise.all(Array.from({ length: count }, () => yard.connect(side)));
  return sockets.map((socket) => new Caller(socket, yard.token));
}

/** Lets one caller work and closes it. */
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
