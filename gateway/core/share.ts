/** Limits of a whole gateway that each of its processes enforces alone, without asking the others. */

/** The share of one process, rounded up so that none gets 0. */
export function shareOf(limit: number, processes: number): number {
  return Math.ceil(limit / processes);
}
