/** The admitted streams of a gateway, decided again when anything their admission depends on changes. */

import { Slots, type Slotted } from '../core/slots.ts';

/** A stream that can be decided again, from the facts it came with. */
export interface Examined extends Slotted {
  /** When it must be decided again even if nothing changes, in milliseconds since the epoch. */
  readonly examineAtMs: number;
  /** Ends the stream if it would no longer be admitted. */
  examine(): void;
}

/** Changes within this time are handled as one. */
const SETTLE_MS = 20;
/** How often expired tokens and certificates are looked for. */
const TICK_MS = 250;
/** Streams decided in one turn of the event loop. */
const PIECE = 200;

export class RunningStreams {
  readonly #streams = new Slots<Examined>();
  readonly #tick: NodeJS.Timeout;
  #settling: NodeJS.Timeout | undefined;
  #changes = 0;

  constructor() {
    this.#tick = setInterval(() => this.#examineDue(Date.now()), TICK_MS).unref();
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Number of changes so far. */
  get changes(): number {
    return this.#changes;
  }

  /** `since`: `changes` when its decision began. If that has changed since, the stream is decided again. */
  add(stream: Examined, since: number): void {
    this.#streams.add(stream);
    if (since === this.#changes) return;
    setImmediate(() => {
      if (stream.slot >= 0) stream.examine();
    });
  }

  delete(stream: Examined): void {
    this.#streams.remove(stream);
  }

  /** Reports a change: every stream is decided again after `SETTLE_MS`. */
  examineSoon(): void {
    this.#changes += 1;
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      void this.#examineAll();
    }, SETTLE_MS).unref();
  }

  close(): void {
    clearInterval(this.#tick);
    clearTimeout(this.#settling);
  }

  #examineDue(nowMs: number): void {
    for (const stream of this.#streams.filter(({ examineAtMs }) => examineAtMs <= nowMs)) stream.examine();
  }

  async #examineAll(): Promise<void> {
    const streams = this.#streams.snapshot();
    for (let from = 0; from < streams.length; from += PIECE) {
      for (const stream of streams.slice(from, from + PIECE)) if (stream.slot >= 0) stream.examine();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
