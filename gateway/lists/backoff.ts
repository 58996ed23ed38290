/** How long to wait before the next attempt: twice as long each time, and never together with everybody else. */

const FIRST_MS = 100;
const MAX_MS = 10_000;

/** Milliseconds before attempt `failures + 1`, between half and all of the step ("full jitter" would hammer). */
export function backoffMs(failures: number): number {
  const step = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures, 20));
  return step / 2 + (Math.random() * step) / 2;
}
