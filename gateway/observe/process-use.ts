/** Resource use of this process, from /proc (proc_pid_stat(5), proc_pid_fd(5)). */

import { readdirSync, readFileSync, statSync } from 'node:fs';

export interface ProcessUse {
  /** User and system time together, since the start of the process. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly openDescriptors: number;
  /** Limit on open descriptors; at the limit, the process can neither accept connections nor connect to nodes. */
  readonly mostDescriptors: number;
}

/** USER_HZ, the same on every Linux. */
const TICKS_A_SECOND = 100;
/** Indices of utime and stime among the fields after the program name, which may contain blanks and parentheses. */
const [USER_TICKS, SYSTEM_TICKS] = [11, 12];

/** Returns undefined without /proc. Reads four entries of /proc, which is too slow for every request. */
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

/** Since Linux 6.2 the size of the folder is the number of descriptors; before, it is 0. */
function openDescriptors(): number {
  return statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length;
}
