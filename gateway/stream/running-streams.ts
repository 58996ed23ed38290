/** The admitted streams of a gateway: decided again when anything has changed that their admission stood on. */

import { Slots, type Slotted } from '../core/slots.ts';

/** A stream that can be decided again, from the facts it came with. */
export interface Examined extends Slotted {
  /** When it has to be decided again for the time alone, milliseconds since the epoch. */
  readonly examineAtMs: number;
  /** Ends the stream if it would not be admitted any more. */
  examine(): void;
}

/** Changes that come together are one. */
const SETTLE_MS = 20;
/** How often ends of tokens and certificates are looked for. */
const TICK_MS = 250;
/** Streams decided in one go; between two goes all other work has its turn. */
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

  /** Another number after every change. */
  get changes(): number {
    return this.#changes;
  }

  /** `since`: the number of changes when its decision began. What has changed meanwhile, it is decided again by. */
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

  /** Something has changed: every stream is decided again. */
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
