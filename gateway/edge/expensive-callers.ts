/** Callers whose handshake has cost far more than any honest one: they may begin no other for a while. */

import type { Address } from '../core/address.ts';
import { holderOf } from '../core/address-holder.ts';

/** A handshake under way. */
export interface Beginning {
  /** Ends it: another handshake of the same caller proved abusive. */
  shutOut(): void;
}

const SHUT_OUT_MS = 60_000;
/** Addresses remembered; the one shut out longest ago is evicted. */
const CAPACITY = 10_000;

/**
 * OpenSSL parses a chain before its size can be checked, and an untrusted one can keep it busy for seconds (names ×
 * name constraints, which are bounded only for each pair of certificates). This class lets an address do so once a
 * minute in each process, and not with all of its connections at once. Times are monotonic milliseconds.
 */
export class ExpensiveCallers {
  readonly #untilMs = new Map<string, number>();
  /** By holder. */
  readonly #underWay = new Map<string, Set<Beginning>>();

  /** Returns false, and remembers nothing, if the address is shut out. */
  begin(address: Address, beginning: Beginning, nowMs: number): boolean {
    const holder = holderOf(address);
    if ((this.#untilMs.get(holder) ?? nowMs) > nowMs) return false;
    const known = this.#underWay.get(holder);
    if (known === undefined) this.#underWay.set(holder, new Set([beginning]));
    else known.add(beginning);
    return true;
  }

  /** The handshake is over or abandoned. May also be called for one that was not begun. */
  end(address: Address, beginning: Beginning): void {
    const holder = holderOf(address);
    const known = this.#underWay.get(holder);
    known?.delete(beginning);
    if (known?.size === 0) this.#underWay.delete(holder);
  }

  /** Ends the handshakes that the address has begun. Established connections stay. */
  shutOut(address: Address, nowMs: number): void {
    const holder = holderOf(address);
    this.#untilMs.delete(holder);
    this.#untilMs.set(holder, nowMs + SHUT_OUT_MS);
    const [oldest] = this.#untilMs.size > CAPACITY ? this.#untilMs.keys() : [];
    if (oldest !== undefined) this.#untilMs.delete(oldest);
    for (const beginning of [...(this.#underWay.get(holder) ?? [])]) beginning.shutOut();
  }
}
