/** What this process has taken of the machine, as Linux tells it (proc_pid_stat(5), proc_pid_fd(5)). */

import { readdirSync, readFileSync, statSync } from 'node:fs';

export interface ProcessUse {
  /** As user and in the system together, since the process began. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly openDescriptors: number;
  /** With so many open nothing more is accepted, and no node connected to. */
  readonly mostDescriptors: number;
}

/** USER_HZ, the same on every Linux. */
const TICKS_A_SECOND = 100;
/** Behind the name of the program, which may hold anything. */
const [USER_TICKS, SYSTEM_TICKS] = [11, 12];

/** Nothing where there is no /proc. Reads four files: for scrapes, not for requests. */
export function processUse(): ProcessUse | undefined {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS]);
    return {
      cpuSeconds: ticks / TICKS_A_SECOND,
      residentBytes: numberIn('/proc/self/status', /^VmRSS:\s+(\d+) kB$/m) * 1024,
      openDescriptors: openDescriptors(),
      mostDescriptors: numberIn('/proc/self/limits', /^Max open files\s+(\d+)/m),
    };
  } catch {
    return undefined;
  }
}

function numberIn(path: string, pattern: RegExp): number {
  return Number(pattern.exec(readFileSync(path, 'latin1'))?.[1]);
}

/** The size of the folder is their number since Linux 6.2, and 0 before. */
function openDescriptors(): number {
  return statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length;
}
