/** Keeps requests from waiting for a Redis that does not answer: opossum counts, and says when it is tried again. */

import CircuitBreaker from 'opossum';
import { outcome } from '../core/circuit-outcome.ts';

/** What of the last half second went wrong, in parts of 100, before it is left alone. */
const ERROR_PERCENT = 25;
const WINDOW_MS = 500;
const PARTS = 5;
const REST_MS = 1000;

export interface StoreBreakerWatcher {
  onOpen(): void;
  /** It has rested: one trial, and its outcome to `tried`. */
  onTrial(): void;
  onClose(): void;
}

/** opossum is told what came of a command instead of waiting for it; while it is open no caller's request is the trial. */
export class StoreBreaker {
  readonly #circuit: CircuitBreaker<[boolean], void>;

  constructor(watcher: StoreBreakerWatcher) {
    this.#circuit = new CircuitBreaker<[boolean], void>(outcome, {
      timeout: false,
      errorThresholdPercentage: ERROR_PERCENT,
      rollingCountTimeout: WINDOW_MS,
      rollingCountBuckets: PARTS,
      // Gateways that lost the same Redis do not come back to it in the same moment.
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

  /** Of a command that was sent while it was closed. */
  counted(ok: boolean): void {
    if (this.#circuit.closed) this.#fire(ok);
  }

  /** Of the trial. */
  tried(ok: boolean): void {
    if (this.#circuit.halfOpen) this.#fire(ok);
  }

  /** The connection is lost: there is nothing to count. */
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
