/** The body of the call that runs on a connection: its framing, its sink, and whether it may flow. */

import type { Framing } from '../core/facts.ts';
import { type BodyProgress, type BodyReader, type BodySink, bodyReader } from '../http1/body-reader.ts';

/** Begun again with each call; done before the first one. */
export class CallBody {
  #reader: BodyReader = bodyReader({ kind: 'none' });
  #sink: BodySink | undefined;
  /** The sink asks for more. */
  isWanted = false;

  /** Whether it was read to its end. */
  get done(): boolean {
    return this.#reader.done;
  }

  /** Whether its chunks are read as they come. */
  get flows(): boolean {
    return this.isWanted && !this.#reader.done;
  }

  /** Bytes of it that may be gathered before they are read; 0 if it does not flow. */
  get gatherBytes(): number {
    if (!this.flows) return 0;
    return this.#sink?.isMetered === true ? 1 : this.#reader.leftBytes;
  }

  /** Whether there is more of it that is not asked for. */
  get isHeld(): boolean {
    return !this.isWanted && !this.#reader.done;
  }

  begin(framing: Framing): void {
    this.isWanted = false;
    this.#reader = bodyReader(framing);
  }

  /** Sets the sink. */
  goTo(sink: BodySink): void {
    this.#sink = sink;
  }

  /** Reads on at `from`; after a framing fault nothing more is wanted. */
  read(chunk: Buffer, from: number): BodyProgress {
    if (this.#sink === undefined) throw new Error('a body is read without a sink');
    const progress = this.#reader.read(chunk, from, this.#sink);
    if (typeof progress !== 'number') this.isWanted = false;
    // The connection may be idle for long now: it must not keep what the body went to.
    if (this.#reader.done) this.#sink = undefined;
    return progress;
  }
}
