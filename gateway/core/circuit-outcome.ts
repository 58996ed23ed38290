/** Reports the outcome of an action to a circuit breaker that did not run it. */

const DONE = Promise.resolve();
const FAILED = new Error('it has failed');

/** The action of an opossum breaker. It throws on failure: opossum then counts it, and opens, before `fire` returns. */
export function outcome(ok: boolean): Promise<void> {
  if (ok) return DONE;
  throw FAILED;
}
