/** Bounds the bytes held for all callers together: above the limit nothing is read, then the newest streams end. */

import { type Denial, deny } from '../core/denial.ts';
import type { Metrics } from '../observe/metrics.ts';

/** A connection that may hold bytes. */
export interface BufferHolder {
  readonly bufferedBytes: number;
  /** When its last call began; monotonic milliseconds. */
  readonly begunMs: number;
  /** Without room nothing more is read for it. May be called again with the same value. */
  setRoom(hasRoom: boolean): void;
  cut(denial: Denial): void;
}

export interface RoomOptions {
  readonly holders: ReadonlySet<BufferHolder>;
  readonly limitBytes: () => number;
  readonly metrics: Pick<Metrics, 'bufferedBytes' | 'bufferPressure'>;
}

/** Interval of looks. Between two looks a stream can add at most what it gathers, twice. */
const LOOK_MS = 100;
/** Looks (about a second) to wait for buffers to drain before streams are ended; a late look counts once. */
const PATIENT_LOOKS = 10;
/** Reading resumes at this part of the limit, and streams are ended down to it, so that nothing stalls for longer. */
const RELIEF = 0.8;

export class Room {
  readonly #options: RoomOptions;
  readonly #timer: NodeJS.Timeout;
  /** Consecutive looks that found too much held. */
  #fullLooks = 0;

  constructor(options: RoomOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  look(): void {
    const { holders, limitBytes, metrics } = this.#options;
    let heldBytes = 0;
    for (const holder of holders) heldBytes += holder.bufferedBytes;
    metrics.bufferedBytes(heldBytes);
    const limit = limitBytes();
    const relief = limit * RELIEF;
    if (heldBytes > (this.#fullLooks === 0 ? limit : relief)) this.#onFull(heldBytes - relief);
    else if (this.#fullLooks > 0) this.#onRelief();
  }

  /** Calls every holder at each look, since there may be new ones. */
  #onFull(surplusBytes: number): void {
    const { holders, metrics } = this.#options;
    if (this.#fullLooks === 0) metrics.bufferPressure('paused');
    for (const holder of holders) holder.setRoom(false);
    if (this.#fullLooks >= PATIENT_LOOKS) this.#shed(surplusBytes);
    this.#fullLooks += 1;
  }

  #onRelief(): void {
    this.#fullLooks = 0;
    for (const holder of this.#options.holders) holder.setRoom(true);
  }

  /** Ends the newest first: they lose least. */
  #shed(surplusBytes: number): void {
    const { holders, metrics } = this.#options;
    // Among those that began at the same clock reading, the last to connect comes first.
    const newestFirst = [...holders].toReversed().sort((a, b) => b.begunMs - a.begunMs);
    let leftBytes = surplusBytes;
    for (const holder of newestFirst) {
      if (leftBytes <= 0) return;
      const heldBytes = holder.bufferedBytes;
      if (heldBytes === 0) continue;
      leftBytes -= heldBytes;
      metrics.bufferPressure('shed');
      holder.cut(deny('stream', 'overloaded', 'The buffers of the gateway are full.', { retryAfterS: 1 }));
    }
  }
}
