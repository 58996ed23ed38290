/** The breaker of one node: opossum counts what comes of its requests, and says when it gets no more. */

import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import { outcome } from '../core/circuit-outcome.ts';
import type { BreakerSettings } from '../policy/upstream.ts';

export type BreakerState = 'closed' | 'half-open' | 'open';

/** Counts are kept for so long, in so many parts. */
const WINDOW_MS = 10_000;
const PARTS = 10;
/** opossum opens above its threshold; ours is reached. */
const REACHED = 1e-9;

/** Turns the windows of all breakers: one timer, whatever their number. */
export class BreakerWindows {
  readonly turns = new EventEmitter().setMaxListeners(0);
  readonly #timer = setInterval(() => this.turns.emit('rotate'), WINDOW_MS / PARTS).unref();

  close(): void {
    clearInterval(this.#timer);
  }
}

/**
 * opossum is told of a request when it is known what came of it, instead of waiting for it: so a request that its caller
 * broke off counts for nothing, the clock stands while a body flows, and a trial nobody hears of again gives way to the
 * next. `request` is any object that stands for one.
 */
export class NodeBreaker {
  readonly #settings: BreakerSettings;
  readonly #windows: BreakerWindows;
  readonly #onChange: (state: BreakerState) => void;
  /** Made with the first request, and anew whenever the breaker has closed: it begins with no failures. */
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

  /** Whether the node may get one more request. The clock is the one of `entered`. */
  admits(nowMs: number): boolean {
    const circuit = this.#circuit;
    if (circuit === undefined || circuit.closed) return true;
    const isFree = this.#trial === undefined || nowMs >= this.#trialUntilMs;
    return circuit.halfOpen && circuit.pendingClose && isFree;
  }

  /** Milliseconds until the next trial; 0 where it is not open. */
  get restMs(): number {
    return this.state === 'open'
      ? Math.max(0, this.#opened + this.#settings.sleepWindowMs - performance.now())
      : 0;
  }

  /** The node gets this request: on trial, if the breaker is half open. */
  entered(request: object, nowMs: number): void {
    if (this.#circuit?.halfOpen !== true) return;
    this.#trial = request;
    this.#trialUntilMs = nowMs + this.#settings.sleepWindowMs;
  }

  /** Nothing is known of the node from this request. */
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

  /** Counts nothing any more, and holds no timer. */
  shutDown(): void {
    this.#isShutDown = true;
    this.#forget();
  }

  #forget(): void {
    this.#circuit?.shutdown();
    this.#circuit = undefined;
  }

  /** While it is not closed only the trial counts: the others were sent before. */
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
 * While it is closed a success only adds to two counts: told by the events they listen to, since `fire` would come to the
 * same by three promises and five closures, for every request there is.
 */
function count(circuit: CircuitBreaker<[boolean], void>): void {
  circuit.emit('fire');
  circuit.emit('success');
}
