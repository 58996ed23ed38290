/** Finds the end of a body by its framing and passes its bytes on as views of the same buffers (RFC 9112 §6, §7). */

import type { Framing } from '../core/facts.ts';
import { ChunkedBody } from './chunked-body.ts';

/** Receives what a body reader finds. */
export interface BodySink {
  /** Whether bytes are paid for as they come: then none should be gathered before. */
  readonly isMetered?: boolean;
  /** Content bytes: the chunk itself or a view of it. */
  onBody(bytes: Buffer): void;
  /** Called after the last byte. `trailers`: name, value, name, value … behind a chunked body. */
  onBodyEnd(trailers: readonly string[]): void;
}

/** The offset in the chunk at which the reader stopped, or what is wrong with the framing. */
export type BodyProgress = number | { readonly kind: 'fault'; readonly reason: string };

export const NO_TRAILERS: readonly string[] = [];

/** One body. */
export interface BodyReader {
  /** Whether the end of the body was reached. */
  readonly done: boolean;
  /** The body is not done before so many more bytes were read: 1 if its end can come at any time. */
  readonly leftBytes: number;
  /** Reads on at `from`. Returns the offset behind the last byte that belongs to the body. */
  read(chunk: Buffer, from: number, sink: BodySink): BodyProgress;
}

/** A reader for one body; for an empty body it is done from the start and never calls its sink. */
export function bodyReader(framing: Framing): BodyReader {
  switch (framing.kind) {
    case 'none':
      return new LengthBody(0);
    case 'length':
      return new LengthBody(framing.length);
    case 'chunked':
      return new ChunkedBody();
    case 'close':
      return new UntilClose();
  }
}

class LengthBody implements BodyReader {
  #left: number;

  constructor(lengthBytes: number) {
    this.#left = lengthBytes;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  get leftBytes(): number {
    return this.#left;
  }

  read(chunk: Buffer, from: number, sink: BodySink): number {
    const end = Math.min(chunk.length, from + this.#left);
    this.#left -= end - from;
    if (end > from) sink.onBody(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end));
    if (this.#left === 0) sink.onBodyEnd(NO_TRAILERS);
    return end;
  }
}

/** Never done: the body ends with the connection. */
class UntilClose implements BodyReader {
  readonly done = false;
  readonly leftBytes = 1;

  read(chunk: Buffer, from: number, sink: BodySink): number {
    sink.onBody(from === 0 ? chunk : chunk.subarray(from));
    return chunk.length;
  }
}
