/** W3C Trace Context: the caller's trace goes on under a span of ours, or a new one begins. */

import { randomFillSync } from 'node:crypto';

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const ZERO_TRACE = '0'.repeat(32);
const ZERO_PARENT = '0'.repeat(16);
const TRACE_BYTES = 16;
const SPAN_BYTES = 8;
const POOL_BYTES = 4096;

/** Makes the ids of traces and spans, from random bytes that are drawn many at a time. */
export class Traces {
  readonly #pool = Buffer.allocUnsafeSlow(POOL_BYTES);
  #at = POOL_BYTES;

  /** The `traceparent` for the node (Trace Context §3.2); anything but one well-formed line begins a new trace. */
  continue(lines: readonly string[]): string {
    const [line] = lines;
    const [, trace, parent, flags] = (lines.length === 1 ? TRACEPARENT.exec(line ?? '') : null) ?? [];
    if (trace === undefined || trace === ZERO_TRACE || parent === ZERO_PARENT) {
      const ids = this.#random(TRACE_BYTES + SPAN_BYTES);
      return `00-${ids.slice(0, 2 * TRACE_BYTES)}-${ids.slice(2 * TRACE_BYTES)}-00`;
    }
    return `00-${trace}-${this.#random(SPAN_BYTES)}-${flags}`;
  }

  #random(bytes: number): string {
    if (this.#at + bytes > POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#at = 0;
    }
    this.#at += bytes;
    return this.#pool.toString('hex', this.#at - bytes, this.#at);
  }
}
