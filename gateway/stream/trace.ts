/** W3C Trace Context: continues the caller's trace with a new span, or begins a new trace. */

import { randomBytes } from 'node:crypto';

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const ZERO_TRACE = '0'.repeat(32);
const ZERO_PARENT = '0'.repeat(16);
const TRACE_DIGITS = 32;
const SPAN_DIGITS = 16;
const POOL_BYTES = 4096;

/** Creates trace and span ids from random digits drawn in bulk. */
export class Traces {
  #pool = '';
  #at = 0;

  /** The `traceparent` for the node (Trace Context §3.2); anything but one well-formed line begins a new trace. */
  continue(lines: readonly string[]): string {
    const [line] = lines;
    const [, trace, parent, flags] = (lines.length === 1 ? TRACEPARENT.exec(line ?? '') : null) ?? [];
    if (trace === undefined || trace === ZERO_TRACE || parent === ZERO_PARENT)
      return `00-${this.#random(TRACE_DIGITS)}-${this.#random(SPAN_DIGITS)}-00`;
    return `00-${trace}-${this.#random(SPAN_DIGITS)}-${flags}`;
  }

  #random(digits: number): string {
    if (this.#at + digits > this.#pool.length) {
      this.#pool = randomBytes(POOL_BYTES).toString('hex');
      this.#at = 0;
    }
    this.#at += digits;
    return this.#pool.slice(this.#at - digits, this.#at);
  }
}
