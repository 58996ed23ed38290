/** The bound on bytes that are held for all callers together: over it nothing is read, then the newest streams end. */

import { type Denial, deny } from '../core/denial.ts';
import type { Metrics } from '../observe/metrics.ts';

/** A connection that may hold bytes. */
export interface BufferHolder {
  readonly bufferedBytes: number;
  /** When what it carries began; monotonic. */
  readonly begunMs: number;
  /** Without room nothing more is read for it. May be told again. */
  setRoom(hasRoom: boolean): void;
  cut(denial: Denial): void;
}

export interface RoomOptions {
  readonly holders: ReadonlySet<BufferHolder>;
  readonly limitBytes: () => number;
  readonly metrics: Pick<Metrics, 'bufferedBytes' | 'bufferPressure'>;
}

/** How often it is looked how much is held. Between two looks a stream can add its two buffers at most. */
const LOOK_MS = 100;
/** Looks for what is held to be taken, before streams are ended: a second. One that comes late is one look all the same. */
const PATIENT_LOOKS = 10;
/** Reading goes on below this part of the bound, and streams are ended down to it: nothing stands still for longer. */
const RELIEF = 0.8;

export class Room {
  readonly #options: RoomOptions;
  readonly #timer: NodeJS.Timeout;
  /** One after the other, that found too much held. */
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

  /** Told at every look, since there are new ones each time. */
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

  /** Who has come last has lost least. */
  #shed(surplusBytes: number): void {
    const { holders, metrics } = this.#options;
    // Of those that began in one look of the clock the last one to connect comes first.
    const newestFirst = [...holders].toReversed().sort((a, b) => b.begunMs - a.begunMs);
    let leftBytes = surplusBytes;
    for (const holder of newestFirst) {
      if (leftBytes <= 0) return;
      const heldBytes = holder.bufferedBytes;
      if (heldBytes === 0) continue;
      leftBytes -= heldBytes;
      metrics.bufferPressure('shed');
      holder.cut(deny('stream', 'overloaded', 'The gateway holds too many bytes.', { retryAfterS: 1 }));
    }
  }
}
