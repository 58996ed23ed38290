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
/** For what is held to be taken, before streams are ended. */
const PATIENCE_MS = 1000;
/** Reading goes on below this part of the bound, and streams are ended down to it: nothing stands still for longer. */
const RELIEF = 0.8;

export class Room {
  readonly #options: RoomOptions;
  readonly #timer: NodeJS.Timeout;
  /** Since when too much is held; nothing while there is room. */
  #fullSinceMs: number | undefined;

  constructor(options: RoomOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(performance.now()), LOOK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** The clock is monotonic. */
  look(nowMs: number): void {
    const { holders, limitBytes, metrics } = this.#options;
    let heldBytes = 0;
    for (const holder of holders) heldBytes += holder.bufferedBytes;
    metrics.bufferedBytes(heldBytes);
    const limit = limitBytes();
    const relief = limit * RELIEF;
    if (heldBytes > (this.#fullSinceMs === undefined ? limit : relief))
      this.#onFull(heldBytes - relief, nowMs);
    else if (this.#fullSinceMs !== undefined) this.#onRelief();
  }

  /** Told at every look, since there are new ones each time. */
  #onFull(surplusBytes: number, nowMs: number): void {
    const { holders, metrics } = this.#options;
    if (this.#fullSinceMs === undefined) metrics.bufferPressure('paused');
    this.#fullSinceMs ??= nowMs;
    for (const holder of holders) holder.setRoom(false);
    if (nowMs - this.#fullSinceMs >= PATIENCE_MS) this.#shed(surplusBytes);
  }

  #onRelief(): void {
    this.#fullSinceMs = undefined;
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
