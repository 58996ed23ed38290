/** Bytes that Redis grants this gateway in advance, for each holder, so that it is asked once for each chunk. */

import type { Rate } from '../core/units.ts';
import { chunkBytes } from './budget-parts.ts';
import type { LimitStore, StoreAnswer } from './limit-store.ts';

/** A pool that has been unused for this long is returned to Redis. */
const IDLE_MS = 1000;

export class BytePools {
  readonly #store: LimitStore;
  readonly #pools = new Map<string, BytePool>();
  readonly #sweep = setInterval(() => this.#giveBackIdle(performance.now()), IDLE_MS).unref();

  constructor(store: LimitStore) {
    this.#store = store;
  }

  /** Returns the pool of a holder's key, and counts one more user of it. */
  enter(key: string, budget: Rate): BytePool {
    const known = this.#pools.get(key);
    const pool = known ?? new BytePool(this.#store, key);
    if (known === undefined) this.#pools.set(key, pool);
    pool.enter(budget);
    return pool;
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const pool of this.#pools.values()) pool.giveBack();
    this.#pools.clear();
  }

  #giveBackIdle(nowMs: number): void {
    for (const [key, pool] of this.#pools) {
      if (!pool.isIdle(nowMs - IDLE_MS)) continue;
      this.#pools.delete(key);
      pool.giveBack();
    }
  }
}

/**
 * What one gateway holds of one budget. It asks for the next chunk when less than half a chunk is left, so that it
 * holds at most one and a half, which others may be refused although nobody has used them: 24 MiB of 1 GiB/h, whose
 * chunks are 16 MiB. Bytes that flowed before they could be refused make the balance negative.
 */
export class BytePool {
  readonly key: string;
  readonly #store: LimitStore;
  #budget: Rate = { count: 1, perMs: 1 };
  #balance = 0;
  /** What Redis had left at its last answer. */
  #elsewhere = 0;
  #users = 0;
  #usedAtMs = 0;
  #filling: Promise<StoreAnswer | undefined> | undefined;

  constructor(store: LimitStore, key: string) {
    this.#store = store;
    this.key = key;
  }

  get budget(): Rate {
    return this.#budget;
  }

  get balance(): number {
    return this.#balance;
  }

  /** Bytes left of the budget, here and in Redis as of its last answer, which may count some twice: at most the budget. */
  get left(): number {
    return Math.min(this.#budget.count, Math.max(0, this.#balance) + this.#elsewhere);
  }

  /** Bytes a claim may ask for beyond what it needs: a chunk, or 0 while one is being requested. */
  get spareBytes(): number {
    return this.#filling === undefined ? chunkBytes(this.#budget) : 0;
  }

  enter(budget: Rate): void {
    this.#budget = budget;
    this.#users += 1;
  }

  leave(nowMs: number): void {
    this.#users -= 1;
    this.#usedAtMs = nowMs;
  }

  isIdle(sinceMs: number): boolean {
    return this.#users === 0 && this.#filling === undefined && this.#usedAtMs <= sinceMs;
  }

  /** Takes up to `bytes` of those that are here, and returns how many. */
  draw(bytes: number): number {
    const drawn = Math.max(0, Math.min(bytes, this.#balance));
    this.#balance -= drawn;
    if (this.#balance < chunkBytes(this.#budget) / 2 && this.#balance > 0) void this.fill();
    return drawn;
  }

  /** Adds bytes; a negative number is bytes that flowed unpaid. */
  add(bytes: number): void {
    this.#balance += bytes;
  }

  /** Records what Redis says it has left. */
  know(elsewhere: number | undefined): void {
    if (elsewhere !== undefined) this.#elsewhere = elsewhere;
  }

  /** Asks for another chunk, one request at a time. Resolves to undefined if there is no answer. */
  fill(): Promise<StoreAnswer | undefined> {
    this.#filling ??= this.#fill();
    return this.#filling;
  }

  giveBack(): void {
    if (this.#balance !== 0) this.#store.giveBackBytes(this.key, { bytes: this.#budget }, this.#balance);
    this.#balance = 0;
  }

  async #fill(): Promise<StoreAnswer | undefined> {
    const neededBytes = Math.max(1, 1 - this.#balance);
    const answer = await this.#store.claim({
      key: this.key,
      limits: { bytes: this.#budget },
      neededBytes,
      wantedBytes: neededBytes + chunkBytes(this.#budget),
    });
    if (answer?.kind === 'grant') {
      this.#balance += answer.bytes;
      this.know(answer.left.bytes);
    }
    this.#filling = undefined;
    return answer;
  }
}
