/** The body of the call that runs on a connection: how it is framed, who takes it, and whether it may flow. */

import type { Framing } from '../core/facts.ts';
import { type BodyProgress, type BodyReader, type BodySink, bodyReader } from '../http1/body-reader.ts';

/** Begun anew with each call; one that was not begun is done. */
export class CallBody {
  #reader: BodyReader = bodyReader({ kind: 'none' });
  #sink: BodySink | undefined;
  /** Whoever takes it asks for more. */
  isWanted = false;

  /** It was read to its end. */
  get done(): boolean {
    return this.#reader.done;
  }

  /** Chunks of it are read as they come. */
  get flows(): boolean {
    return this.isWanted && !this.#reader.done;
  }

  /** There is more of it, and nobody asks for it. */
  get isHeld(): boolean {
    return !this.isWanted && !this.#reader.done;
  }

  begin(framing: Framing): void {
    this.isWanted = false;
    this.#reader = bodyReader(framing);
  }

  /** Names who takes it. */
  goTo(sink: BodySink): void {
    this.#sink = sink;
  }

  /** Reads on at `from`; after a fault nothing more is wanted. */
  read(chunk: Buffer, from: number): BodyProgress {
    if (this.#sink === undefined) throw new Error('a body flows that nobody reads');
    const progress = this.#reader.read(chunk, from, this.#sink);
    if (typeof progress !== 'number') this.isWanted = false;
    return progress;
  }
}
