/** How many TLS handshakes are under way: each costs a millisecond, and a flood of them would cost all of them. */

export class HandshakeSlots {
  #taken = 0;

  /** Takes a slot if fewer than `limit` are taken; whoever got one gives it back. */
  take(limit: number): boolean {
    if (this.#taken >= limit) return false;
    this.#taken += 1;
    return true;
  }

  giveBack(): void {
    this.#taken -= 1;
  }
}
