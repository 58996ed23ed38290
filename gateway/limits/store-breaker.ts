/** Keeps requests from waiting for a Redis that does not answer: opossum counts failures and schedules trials. */

import CircuitBreaker from 'opossum';
import { outcome } from '../core/circuit-outcome.ts';

/** Share of failed commands in the last half second, in percent, at which Redis is no longer asked. */
const ERROR_PERCENT = 25;
const WINDOW_MS = 500;
const PARTS = 5;
const REST_MS = 1000;

export interface StoreBreakerWatcher {
  onOpen(): void;
  /** Runs one trial command and passes its outcome to `tried`. */
  onTrial(): void;
  onClose(): void;
}

/** opossum is given outcomes and runs nothing itself; while it is open, no caller's request serves as the trial. */
export class StoreBreaker {
  readonly #circuit: CircuitBreaker<[boolean], void>;

  constructor(watcher: StoreBreakerWatcher) {
    this.#circuit = new CircuitBreaker<[boolean], void>(outcome, {
      timeout: false,
      errorThresholdPercentage: ERROR_PERCENT,
      rollingCountTimeout: WINDOW_MS,
      rollingCountBuckets: PARTS,
      // Jitter, so that gateways that lost the same Redis do not all return to it at the same moment.
      resetTimeout: REST_MS * (1 + Math.random() / 2),
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    });
    this.#circuit.on('open', () => watcher.onOpen());
    this.#circuit.on('halfOpen', () => watcher.onTrial());
    this.#circuit.on('close', () => watcher.onClose());
  }

  get isClosed(): boolean {
    return this.#circuit.closed;
  }

  /** Records the outcome of a command, while the breaker is closed. */
  counted(ok: boolean): void {
    if (this.#circuit.closed) this.#fire(ok);
  }

  /** Records the outcome of the trial command. */
  tried(ok: boolean): void {
    if (this.#circuit.halfOpen) this.#fire(ok);
  }

  /** Opens the breaker at once, because the connection is lost. */
  trip(): void {
    if (this.#circuit.closed) this.#circuit.open();
  }

  shutDown(): void {
    this.#circuit.shutdown();
  }

  #fire(ok: boolean): void {
    this.#circuit.fire(ok).catch(() => undefined);
  }
}
