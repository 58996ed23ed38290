/** A collection whose members come and go by the thousand per second. */

/** A member of at most one such collection, which alone writes its `slot`. */
export interface Slotted {
  /** Its index in the collection; -1 if it is in none. */
  slot: number;
}

/**
 * An unordered set whose members know their place in it. V8 replaces the tables of a Map or Set as members come and go,
 * and each dead table keeps its members and the next table alive until a full collection: measured as a tenth of all
 * that a request allocates. Here a removed member leaves nothing behind.
 */
export class Slots<T extends Slotted> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** Does nothing if the item is a member already. */
  add(item: T): void {
    if (item.slot < 0) item.slot = this.#members.push(item) - 1;
  }

  /** Does nothing if the item is not a member. */
  remove(item: T): void {
    const { slot } = item;
    if (slot < 0) return;
    const last = this.#members.pop();
    item.slot = -1;
    if (last === undefined || last === item) return;
    this.#members[slot] = last;
    last.slot = slot;
  }

  /** A copy of the members, which later changes do not affect. */
  snapshot(): readonly T[] {
    return [...this.#members];
  }

  /** The members for which `isWanted` returns true; it is called once each, and must not change the collection. */
  filter(isWanted: (item: T) => boolean): readonly T[] {
    return this.#members.filter(isWanted);
  }
}
