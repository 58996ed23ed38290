/** What a data plane was told of, by its name, until it is told that no policy names it any more. */

interface Told<Entry> {
  readonly entry: Entry;
  /** How often something was told of it. */
  times: number;
}

export class HandedEntries<Entry> {
  readonly #told = new Map<string, Told<Entry>>();

  /** The one of that name; `make` makes one that is not there yet. */
  of(id: string, make: () => Entry): Entry {
    return this.#find(id, make).entry;
  }

  /** The same, because something is told of it. */
  tell(id: string, make: () => Entry): Entry {
    const told = this.#find(id, make);
    told.times += 1;
    return told.entry;
  }

  /**
   * No policy names these any more, but one may that is still being compiled. The answer forgets them when it is called,
   * those excepted of which something was told meanwhile; policies that have them go on with them as they are.
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
