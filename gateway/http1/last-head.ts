/** Caches the result of checking the last head of a connection, for when the same one comes again. */

import type { RawHead } from './head-reader.ts';

/**
 * Holds one head, though like `HeadReader` never the first, and the result of `judge`, which must depend only on the head
 * and the method.
 */
export class LastHead<T> {
  readonly #judge: (raw: RawHead, method: string) => T;
  #raw: RawHead | undefined;
  #method = '';
  #found: T | undefined;
  #isFirst = true;

  constructor(judge: (raw: RawHead, method: string) => T) {
    this.#judge = judge;
  }

  /** `method` is that of the request. Heads are compared by identity: `HeadReader` reuses it for equal bytes. */
  find(raw: RawHead, method: string): T {
    if (this.#found !== undefined && raw === this.#raw && method === this.#method) return this.#found;
    const found = this.#judge(raw, method);
    if (!this.#isFirst) {
      this.#raw = raw;
      this.#method = method;
      this.#found = found;
    }
    this.#isFirst = false;
    return found;
  }
}
