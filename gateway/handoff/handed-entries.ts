/** What a data plane has received, by id, until no policy names it any more. */

interface Told<Entry> {
  readonly entry: Entry;
  /** Number of messages received about it. */
  times: number;
}

export class HandedEntries<Entry> {
  readonly #told = new Map<string, Told<Entry>>();

  /** Returns the entry of that id; `make` creates a missing one. */
  of(id: string, make: () => Entry): Entry {
    return this.#find(id, make).entry;
  }

  /** Like `of`, and counts a message about the entry. */
  tell(id: string, make: () => Entry): Entry {
    const told = this.#find(id, make);
    told.times += 1;
    return told.entry;
  }

  /**
   * Called for entries no policy names any more, except perhaps one that is still being compiled. The returned function
   * forgets them, except those that got a message meanwhile. Policies that hold them keep them as they are.
   */
  leave(ids: readonly string[]): () => void {
    const left = ids.map((id) => [id, this.#told.get(id)?.times] as const);
    return () => {
      for (const [id, times] of left) if (this.#told.get(id)?.times === times) this.#told.delete(id);
    };
  }

  #find(id: string, make: () => Entry): Told<Entry> {
    const told = this.#told.get(id) ?? { entry: make(), times: 0 };
    this.#told.set(id, told);
    return told;
  }
}
