/** Exponential backoff with jitter. */

const FIRST_MS = 100;
const MAX_MS = 10_000;

/** Returns half to all of a step that doubles from 100 ms to 10 s; "full jitter", from 0, would retry too soon. */
export function backoffMs(failures: number): number {
  const step = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures, 20));
  return step / 2 + (Math.random() * step) / 2;
}
