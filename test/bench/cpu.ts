/** CPU time and memory of processes, from the kernel's accounting. */

import { readdirSync, readFileSync } from 'node:fs';

/**
 * Returns the CPU time of a process so far in nanoseconds, user and system (proc(5), `schedstat`). Threads that have
 * ended are not included; neither Node nor single-threaded HAProxy ends any while it serves.
 */
export function cpuNs(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [ran] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    total += Number(ran);
  }
  return total;
}

/** Returns the resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1024;
}

/** Returns the ids of a process and its children. */
export function processesOf(pid: number): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...(children === '' ? [] : children.split(' ').map(Number))];
}

/** Returns the resident memory of a process and its children in bytes. */
export function residentTogether(pid: number): number {
  return processesOf(pid).reduce((sum, each) => sum + residentBytes(each), 0);
}
