/** Reads a weight-patch stream into whole frames for a receiver; every frame that comes out was verified. */

import { createPatchCheck, type PatchCheckMode } from './check.ts';
import { decodeHeader, isViolation } from './decode.ts';
import { PatchFaultError } from './fault.ts';
import type { Header } from './format.ts';
import type { PatchExpectation } from './stream-rules.ts';

/** A verified frame. */
export interface Frame {
  readonly header: Header;
  /** The header as it was sent. */
  readonly headerBytes: Buffer;
  /** Values, indices and padding of a PATCH; empty for the others. */
  readonly payload: Buffer;
}

/**
 * Yields the frames of a stream: each once it is whole and its CRCs, order, bounds and indices are verified, END only
 * after the source ended right after it. Frames are copies, so the source may reuse its memory. Holds one chunk and one
 * frame (at most 1 MiB and a header). Throws PatchFaultError on the first fault; nothing follows.
 */
export function readPatch(
  source: AsyncIterable<Buffer>,
  expectation: PatchExpectation = {},
): AsyncGenerator<Frame> {
  return readFrames(source, 'deep', expectation);
}

/** Like `readPatch`, with the given check. */
export async function* readFrames(
  source: AsyncIterable<Buffer>,
  mode: PatchCheckMode,
  expectation: PatchExpectation = {},
): AsyncGenerator<Frame> {
  const check = createPatchCheck(mode, expectation);
  const assembly = new FrameAssembly();
  const forward = (bytes: Buffer) => assembly.add(bytes);
  for await (const chunk of source) {
    const fault = check.accept(chunk, forward);
    if (fault !== undefined) throw new PatchFaultError(fault);
    yield* assembly.take();
  }
  const fault = check.finish(forward);
  if (fault !== undefined) throw new PatchFaultError(fault);
  yield* assembly.take();
}

/** Joins forwarded bytes into frames. The check never splits a header, and has verified a payload once it is whole. */
class FrameAssembly {
  #whole: Frame[] = [];
  #bytes: Buffer | undefined;
  #held = 0;

  add(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const frame = this.#bytes ?? this.#begin(bytes, at);
      const copied = bytes.copy(frame, this.#held, at);
      at += copied;
      this.#held += copied;
      if (this.#held === frame.length) this.#finish(frame);
    }
  }

  /** The frames that became whole since the last call. */
  take(): Frame[] {
    const whole = this.#whole;
    this.#whole = [];
    return whole;
  }

  #begin(bytes: Buffer, at: number): Buffer {
    const frame = Buffer.allocUnsafeSlow(bytes.readUInt16LE(at + 6) + bytes.readUInt32LE(at + 8));
    this.#bytes = frame;
    this.#held = 0;
    return frame;
  }

  #finish(frame: Buffer): void {
    this.#bytes = undefined;
    const headerBytes = frame.subarray(0, frame.readUInt16LE(6));
    const header = decodeHeader(headerBytes);
    if (isViolation(header)) throw new Error(`a verified header does not decode: ${header.detail}`);
    this.#whole.push({ header, headerBytes, payload: frame.subarray(headerBytes.length) });
  }
}
