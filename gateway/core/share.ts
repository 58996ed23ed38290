/** Limits of a whole gateway that each of its processes keeps for itself, without asking the others. */

/** The part of one of so many processes: rounded up, so that none is left with nothing. */
export function shareOf(limit: number, processes: number): number {
  return Math.ceil(limit / processes);
}
