/** The addresses of a node's name, looked up again and again. */

import { lookup } from 'node:dns/promises';

/** Every address of a name; rejects, or gives none, where there is none. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** As the system finds them: its hosts file, then DNS. */
export const systemLookup: Lookup = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** A name that has no address yet is looked up again after so long. */
const RETRY_MS = 1000;
/** A name that gives more is cut: each is connected to and checked. */
const MAX_ADDRESSES = 64;

export interface ResolverOptions {
  readonly host: string;
  readonly periodMs: number;
  readonly lookup: Lookup;
  /** Sorted and without repetition, when they are others than before. */
  readonly onAddresses: (addresses: readonly string[]) => void;
  /** Once for each reason in a row; what was found before stays. */
  readonly onFault: (reason: string) => void;
}

/** Begins with its making. */
export class NodeResolver {
  readonly #options: ResolverOptions;
  #known: readonly string[] = [];
  #fault: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** The first look-up is not over yet. */
  isFirst = true;

  constructor(options: ResolverOptions) {
    this.#options = options;
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const { host, periodMs, lookup: find } = this.#options;
    const found = await find(host).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
    if (this.#closed) return;
    this.isFirst = false;
    if (typeof found === 'string') this.#fail(found);
    else if (found.length === 0) this.#fail('it has no address');
    else this.#take([...new Set(found)].sort().slice(0, MAX_ADDRESSES));
    const waitMs = this.#known.length === 0 ? Math.min(RETRY_MS, periodMs) : periodMs;
    this.#timer = setTimeout(() => void this.#look(), waitMs).unref();
  }

  #fail(reason: string): void {
    if (reason === this.#fault) return;
    this.#fault = reason;
    this.#options.onFault(reason);
  }

  #take(addresses: readonly string[]): void {
    this.#fault = undefined;
    if (addresses.join() === this.#known.join()) return;
    this.#known = addresses;
    this.#options.onAddresses(addresses);
  }
}
