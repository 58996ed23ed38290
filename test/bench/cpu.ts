/** CPU time and memory of processes, as the kernel counts them. */

import { readdirSync, readFileSync } from 'node:fs';

/**
 * Nanoseconds the threads of a process have run so far, user and system together (proc(5), `schedstat`). Threads that
 * ended are not in it: neither Node nor a HAProxy of one thread ends any while it serves.
 */
export function cpuNs(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [ran] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    total += Number(ran);
  }
  return total;
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1024;
}

/** A process and its children. */
export function processesOf(pid: number): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...(children === '' ? [] : children.split(' ').map(Number))];
}

/** Resident memory of a process and its children in bytes. */
export function residentTogether(pid: number): number {
  return processesOf(pid).reduce((sum, each) => sum + residentBytes(each), 0);
}
