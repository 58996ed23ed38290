/** Decides how often and how soon a transfer that was cut is retried. */

import { setTimeout as sleep } from 'node:timers/promises';

export interface PersistenceOptions {
  /** Retries without progress before giving up. */
  readonly retries?: number;
  /** The first pause, doubled each time. */
  readonly pauseMs?: number;
  readonly signal?: AbortSignal;
}

const RETRIES = 5;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 10_000;
const MAX_ASKED_PAUSE_MS = 60_000;

/** Statuses of temporary failures of a gateway or node. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

export function isPassingStatus(status: number): boolean {
  return PASSING.has(status);
}

/** Errors of a connection that failed or broke, as happens while a gateway is replaced. */
const PASSING_ERRORS: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

/** Whether a retry may help; it does not for an unknown host name or a rejected certificate. */
export function isPassingError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && PASSING_ERRORS.has(error.code);
}

/** Counts the retries of one transfer. */
export class Persistence {
  readonly #options: PersistenceOptions;
  #failures = 0;
  #furthest = 0;

  constructor(options: PersistenceOptions) {
    this.#options = options;
  }

  /** Progress resets the number of retries. */
  reached(bytes: number): void {
    if (bytes <= this.#furthest) return;
    this.#furthest = bytes;
    this.#failures = 0;
  }

  /**
   * Waits before the next try; returns false if there is none. Half of the pause is random, so that clients that were
   * cut off together do not come back together. `askedS` is `Retry-After`, of which at most 60 s are waited. Rejects if
   * the transfer is stopped.
   */
  async again(askedS = 0): Promise<boolean> {
    const { retries = RETRIES, pauseMs = FIRST_PAUSE_MS, signal } = this.#options;
    if (this.#failures >= retries) return false;
    const pause = Math.min(pauseMs * 2 ** this.#failures, MAX_PAUSE_MS) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    const asked = Math.min(askedS * 1000, MAX_ASKED_PAUSE_MS);
    await sleep(Math.max(pause, asked), undefined, { ...(signal && { signal }) });
    return true;
  }
}
