/** How a circuit breaker is told what came of something it did not run itself. */

const DONE = Promise.resolve();
const FAILED = new Error('it has failed');

/** The action of an opossum breaker. A failure is thrown: opossum then counts it, and opens, before `fire` returns. */
export function outcome(ok: boolean): Promise<void> {
  if (ok) return DONE;
  throw FAILED;
}
