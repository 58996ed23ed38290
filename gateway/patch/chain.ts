/** The chain of headers: 32 bytes that tie every frame of a stream, payload CRCs included, to its place. */

import { hash } from 'node:crypto';
import { maxHeaderLength } from './layout.ts';

const digestLength = 32;

/** c₀ = 32 zero bytes, cᵢ = SHA-256(cᵢ₋₁ ‖ headerᵢ). */
export class HeaderChain {
  /** The state, and behind it room for the header, so that one call hashes both. */
  readonly #bytes = Buffer.alloc(digestLength + maxHeaderLength);

  /** Adds the next header. */
  link(header: Buffer): void {
    header.copy(this.#bytes, digestLength);
    hash('sha256', this.#bytes.subarray(0, digestLength + header.length), 'buffer').copy(this.#bytes);
  }

  /** A copy of the state. */
  digest(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, digestLength));
  }
}
