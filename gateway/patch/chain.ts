/** The chain of headers: 32 bytes that tie every frame of a stream, payload CRCs included, to its place. */

import { hash } from 'node:crypto';
import { MAX_HEADER_LENGTH } from './layout.ts';

const DIGEST_LENGTH = 32;

/** c₀ = 32 zero bytes, cᵢ = SHA-256(cᵢ₋₁ ‖ headerᵢ). */
export class HeaderChain {
  /** The state, followed by room for the header, so that one call hashes both. */
  readonly #bytes = Buffer.alloc(DIGEST_LENGTH + MAX_HEADER_LENGTH);

  /** Adds the next header. */
  link(header: Buffer): void {
    header.copy(this.#bytes, DIGEST_LENGTH);
    hash('sha256', this.#bytes.subarray(0, DIGEST_LENGTH + header.length), 'buffer').copy(this.#bytes);
  }

  /** A copy of the state. */
  digest(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, DIGEST_LENGTH));
  }
}
