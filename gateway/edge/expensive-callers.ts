/** Callers whose handshake has cost far more than any honest one: they begin no other for a while. */

import type { Address } from '../core/address.ts';
import { holderOf } from '../core/address-holder.ts';

/** A handshake under way. */
export interface Beginning {
  /** Ends it: its caller has just shown in another one what it is after. */
  shutOut(): void;
}

const SHUT_OUT_MS = 60_000;
/** Addresses remembered; the one shut out longest ago makes room. */
const CAPACITY = 10_000;

/**
 * OpenSSL looks through a chain before anybody is asked whether it may be that large, and one that nobody signed can keep
 * it busy for seconds (names × name constraints, which are bounded for each pair of certificates only). So each address
 * can do that once a minute in each process, and not with all of its connections at once. Times are monotonic milliseconds.
 */
export class ExpensiveCallers {
  readonly #untilMs = new Map<string, number>();
  /** By holder. */
  readonly #underWay = new Map<string, Set<Beginning>>();

  /** Answers false, and remembers nothing, for an address that is shut out. */
  begin(address: Address, beginning: Beginning, nowMs: number): boolean {
    const holder = holderOf(address);
    if ((this.#untilMs.get(holder) ?? nowMs) > nowMs) return false;
    const known = this.#underWay.get(holder);
    if (known === undefined) this.#underWay.set(holder, new Set([beginning]));
    else known.add(beginning);
    return true;
  }

  /** The handshake is over, or was given up; what was not begun may be ended too. */
  end(address: Address, beginning: Beginning): void {
    const holder = holderOf(address);
    const known = this.#underWay.get(holder);
    known?.delete(beginning);
    if (known?.size === 0) this.#underWay.delete(holder);
  }

  /** Ends what the address has begun. Connections that are there stay. */
  shutOut(address: Address, nowMs: number): void {
    const holder = holderOf(address);
    this.#untilMs.delete(holder);
    this.#untilMs.set(holder, nowMs + SHUT_OUT_MS);
    const [oldest] = this.#untilMs.size > CAPACITY ? this.#untilMs.keys() : [];
    if (oldest !== undefined) this.#untilMs.delete(oldest);
    for (const beginning of [...(this.#underWay.get(holder) ?? [])]) beginning.shutOut();
  }
}
