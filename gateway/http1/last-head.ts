/** Caches the result of checking the last head of a connection, for when the same one comes again. */

import type { RawHead } from './head-reader.ts';

/** Holds one head and the result of `judge`, which must depend only on the head and the method. */
export class LastHead<T> {
  readonly #judge: (raw: RawHead, method: string) => T;
  #raw: RawHead | undefined;
  #method = '';
  #found: T | undefined;

  constructor(judge: (raw: RawHead, method: string) => T) {
    this.#judge = judge;
  }

  /** `method` is that of the request. Heads are compared by identity: `HeadReader` reuses it for equal bytes. */
  find(raw: RawHead, method: string): T {
    if (this.#found !== undefined && raw === this.#raw && method === this.#method) return this.#found;
    this.#raw = raw;
    this.#method = method;
    this.#found = this.#judge(raw, method);
    return this.#found;
  }
}
