/** The addresses of a node's host name, looked up periodically. */

import { lookup } from 'node:dns/promises';

/** Resolves to every address of a name. Rejects, or resolves to none, if it has none. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** Looks up the hosts file, then DNS, as the system does. */
export const systemLookup: Lookup = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** Delay before another look-up of a name without a known address. */
const RETRY_MS = 1000;
/** Further addresses are ignored, since each one is connected to and checked. */
const MAX_ADDRESSES = 64;

export interface ResolverOptions {
  readonly host: string;
  readonly periodMs: number;
  readonly lookup: Lookup;
  /** Called when the addresses change: sorted, no duplicates. */
  readonly onAddresses: (addresses: readonly string[]) => void;
  /** Called when a look-up fails, once for the same reason in a row. Known addresses stay. */
  readonly onFault: (reason: string) => void;
}

/** Starts on construction. */
export class NodeResolver {
  readonly #options: ResolverOptions;
  #known: readonly string[] = [];
  #fault: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** The first look-up has not finished yet. */
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
    else if (found.length === 0) this.#fail('the name has no address');
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
