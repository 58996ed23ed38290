/** Checks the payload of a PATCH frame as it passes: values on request, indices always, and that padding is zero. */

import { type Violation, violation } from './fault.ts';
import type { PatchHeader, TensorFields } from './format.ts';
import { createIndexChecks, type IndexCheck } from './index-check.ts';
import { valueSizes } from './layout.ts';
import type { ValueCheck } from './value-check.ts';

/** Reused from frame to frame; holds counters, one varint and one value, whatever the size of the payload. */
export class PayloadCheck {
  readonly #checks = createIndexChecks();
  readonly #values: ValueCheck | undefined;
  #indices: IndexCheck = this.#checks.range;
  #valueBytesLeft = 0;
  #indexBytesLeft = 0;

  /** Without `values`, values are not checked. */
  constructor(values?: ValueCheck) {
    this.#values = values;
  }

  /** Begins the payload this header announces for this tensor. */
  begin(patch: PatchHeader, tensor: TensorFields): Violation | undefined {
    this.#indices = this.#checks[patch.indices];
    this.#indices.begin(patch);
    this.#valueBytesLeft = patch.count * valueSizes[patch.values];
    this.#indexBytesLeft = patch.indexLength;
    const wrong = this.#values?.begin(tensor, patch);
    return wrong === undefined ? undefined : violation('content', wrong, 'value bytes');
  }

  /** Takes the next payload bytes, from `bytes[from]` up to, not including, `bytes[to]`. */
  take(bytes: Buffer, from: number, to: number): Violation | undefined {
    let at = from + Math.min(this.#valueBytesLeft, to - from);
    if (at > from) {
      this.#valueBytesLeft -= at - from;
      const wrong = this.#values?.take(bytes, from, at);
      if (wrong !== undefined) return violation('content', wrong, 'value bytes');
    }
    if (at < to && this.#indexBytesLeft > 0) {
      const end = Math.min(at + this.#indexBytesLeft, to);
      this.#indexBytesLeft -= end - at;
      const wrong = this.#indices.take(bytes, at, end);
      if (wrong !== undefined) return violation('indices', wrong, 'index bytes');
      at = end;
    }
    for (; at < to; at++) {
      if (bytes[at] !== 0) return violation('reserved', 'the padding of the payload is not zero', 'padding');
    }
    return undefined;
  }

  /** Called once the whole payload was taken. */
  finish(): Violation | undefined {
    const wrong = this.#indices.finish();
    return wrong === undefined ? undefined : violation('indices', wrong, 'index bytes');
  }
}
