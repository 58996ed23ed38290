/** Limits the TLS handshakes under way: each costs a millisecond, so that a flood of them would delay them all. */

export class HandshakeSlots {
  #taken = 0;

  /** Takes a slot if fewer than `limit` are taken. If it returns true, call `giveBack` once. */
  take(limit: number): boolean {
    if (this.#taken >= limit) return false;
    this.#taken += 1;
    return true;
  }

  giveBack(): void {
    this.#taken -= 1;
  }
}
