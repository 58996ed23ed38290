/** How many connections there may be, in all and from one address. */

import type { Address } from '../core/address.ts';
import { holderOf } from '../core/address-holder.ts';

export interface ConnectionCaps {
  readonly connections: number;
  readonly connectionsPerAddress: number;
}

/** Counts what is open. Caps are given with each question, so that a reload may change them. */
export class ConnectionLimits {
  readonly #perHolder = new Map<string, number>();
  #total = 0;

  /** Connections admitted and not released. */
  get total(): number {
    return this.#total;
  }

  /** Takes a place for one connection, or answers false and takes none. */
  admit(caps: ConnectionCaps): boolean {
    if (this.#total >= caps.connections) return false;
    this.#total += 1;
    return true;
  }

  /** Gives back a place taken by `admit`, once. */
  release(): void {
    this.#total -= 1;
  }

  /** Takes one of the places of an address, or answers false and takes none. */
  hold(address: Address, caps: ConnectionCaps): boolean {
    const holder = holderOf(address);
    const held = this.#perHolder.get(holder) ?? 0;
    if (held >= caps.connectionsPerAddress) return false;
    this.#perHolder.set(holder, held + 1);
    return true;
  }

  /** Gives back a place taken by `hold`, once. */
  letGo(address: Address): void {
    const holder = holderOf(address);
    const held = this.#perHolder.get(holder) ?? 0;
    if (held > 1) this.#perHolder.set(holder, held - 1);
    else this.#perHolder.delete(holder);
  }
}
