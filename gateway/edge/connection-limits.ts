/** Limits the number of connections, in total and from one address. */

import type { Address } from '../core/address.ts';
import { holderOf } from '../core/address-holder.ts';

export interface ConnectionCaps {
  readonly connections: number;
  readonly connectionsPerAddress: number;
}

/** Counts open connections. Caps are passed to each call, so that a reload can change them. */
export class ConnectionLimits {
  readonly #perHolder = new Map<string, number>();
  #total = 0;

  /** Connections admitted and not released. */
  get total(): number {
    return this.#total;
  }

  /** Takes a place for one connection; returns false, and takes none, if none is left. */
  admit(caps: ConnectionCaps): boolean {
    if (this.#total >= caps.connections) return false;
    this.#total += 1;
    return true;
  }

  /** Releases a place taken by `admit`, once. */
  release(): void {
    this.#total -= 1;
  }

  /** Takes one of an address's places; returns false, and takes none, if none is left. */
  hold(address: Address, caps: ConnectionCaps): boolean {
    const holder = holderOf(address);
    const held = this.#perHolder.get(holder) ?? 0;
    if (held >= caps.connectionsPerAddress) return false;
    this.#perHolder.set(holder, held + 1);
    return true;
  }

  /** Releases a place taken by `hold`, once. */
  letGo(address: Address): void {
    const holder = holderOf(address);
    const held = this.#perHolder.get(holder) ?? 0;
    if (held > 1) this.#perHolder.set(holder, held - 1);
    else this.#perHolder.delete(holder);
  }
}
