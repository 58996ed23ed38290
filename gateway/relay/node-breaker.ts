/** The circuit breaker of one node address: opossum counts its outcomes and decides when it gets no more requests. */

import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import { outcome } from '../core/circuit-outcome.ts';
import type { BreakerSettings } from '../policy/upstream.ts';

export type BreakerState = 'closed' | 'half-open' | 'open';

/** Counts cover this window, in `PARTS` buckets. */
const WINDOW_MS = 10_000;
const PARTS = 10;
/** opossum opens above its threshold; ours opens at it, so this much is subtracted. */
const REACHED = 1e-9;

/** Rotates the windows of all breakers with a single timer. */
export class BreakerWindows {
  readonly turns = new EventEmitter().setMaxListeners(0);
  readonly #timer = setInterval(() => this.turns.emit('rotate'), WINDOW_MS / PARTS).unref();

  close(): void {
    clearInterval(this.#timer);
  }
}

/**
 * Reports each request to opossum when its outcome is known, instead of letting opossum run it. So a request its caller
 * breaks off does not count, time in which a body flows does not count, and a trial without an outcome is replaced by
 * the next one after `sleepWindowMs`. `request` is any object that identifies a request.
 */
export class NodeBreaker {
  readonly #settings: BreakerSettings;
  readonly #windows: BreakerWindows;
  readonly #onChange: (state: BreakerState) => void;
  /** Created with the first outcome, and again after the breaker has closed, so that it starts without failures. */
  #circuit: CircuitBreaker<[boolean], void> | undefined;
  #trial: object | undefined;
  #trialUntilMs = 0;
  #opened = 0;
  #isShutDown = false;

  constructor(settings: BreakerSettings, windows: BreakerWindows, onChange: (state: BreakerState) => void) {
    this.#settings = settings;
    this.#windows = windows;
    this.#onChange = onChange;
  }

  get state(): BreakerState {
    if (this.#circuit === undefined || this.#circuit.closed) return 'closed';
    return this.#circuit.halfOpen ? 'half-open' : 'open';
  }

  /** Whether the node may get another request. `nowMs` is on the same clock as that of `entered`. */
  admits(nowMs: number): boolean {
    const circuit = this.#circuit;
    if (circuit === undefined || circuit.closed) return true;
    const isFree = this.#trial === undefined || nowMs >= this.#trialUntilMs;
    return circuit.halfOpen && circuit.pendingClose && isFree;
  }

  /** Milliseconds until the next trial; 0 if the breaker is not open. */
  get restMs(): number {
    return this.state === 'open'
      ? Math.max(0, this.#opened + this.#settings.sleepWindowMs - performance.now())
      : 0;
  }

  /** The node gets this request: as a trial, if the breaker is half open. */
  entered(request: object, nowMs: number): void {
    if (this.#circuit?.halfOpen !== true) return;
    this.#trial = request;
    this.#trialUntilMs = nowMs + this.#settings.sleepWindowMs;
  }

  /** This request says nothing about the node. */
  left(request: object): void {
    if (this.#trial === request) this.#trial = undefined;
  }

  succeeded(request: object): void {
    const circuit = this.#counting(request);
    if (circuit === undefined) return;
    if (circuit.closed) count(circuit);
    else void circuit.fire(true);
  }

  failed(request: object): void {
    this.#counting(request)
      ?.fire(false)
      .catch(() => undefined);
  }

  /** Stops counting and clears all timers. */
  shutDown(): void {
    this.#isShutDown = true;
    this.#forget();
  }

  #forget(): void {
    this.#circuit?.shutdown();
    this.#circuit = undefined;
  }

  /** Returns the circuit if this request counts. Unless closed, only the trial does: the others were sent before. */
  #counting(request: object): CircuitBreaker<[boolean], void> | undefined {
    const isTrial = this.#trial === request;
    if (isTrial) this.#trial = undefined;
    if (this.#isShutDown) return undefined;
    if (this.#circuit === undefined) this.#circuit = this.#make();
    return this.#circuit.closed || isTrial ? this.#circuit : undefined;
  }

  #make(): CircuitBreaker<[boolean], void> {
    const { errorThreshold, minimumRequests, sleepWindowMs } = this.#settings;
    const options = {
      timeout: false,
      errorThresholdPercentage: errorThreshold - REACHED,
      volumeThreshold: minimumRequests,
      resetTimeout: sleepWindowMs,
      rollingCountTimeout: WINDOW_MS,
      rollingCountBuckets: PARTS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#windows.turns,
    } as const;
    const circuit = new CircuitBreaker<[boolean], void>(outcome, options);
    circuit.on('open', () => {
      this.#opened = performance.now();
      this.#onChange('open');
    });
    circuit.on('halfOpen', () => this.#onChange('half-open'));
    circuit.on('close', () => {
      this.#forget();
      this.#onChange('closed');
    });
    return circuit;
  }
}

/**
 * Counts a success of a closed circuit. It only adds to two counts, so this emits the events they listen to: `fire`
 * would do the same with three promises and five closures for every request.
 */
function count(circuit: CircuitBreaker<[boolean], void>): void {
  circuit.emit('fire');
  circuit.emit('success');
}
