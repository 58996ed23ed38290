/** One Redis as all lists of it share it: a connection for commands, one for subscriptions, and one probe. */

import { Redis } from 'ioredis';
import { backoffMs } from './backoff.ts';

const ANSWER_MS = 2000;
/** A server that is there but stands still is found out by asking it so often. */
const PROBE_MS = 2000;

/** A list that lives there. */
export interface RedisUser {
  /** Messages of these are for it. */
  readonly channels: readonly string[];
  onMessage(channel: string, message: string): void;
  /** Connected, or subscribed, anew: what happened before was not heard. */
  onReady(): void;
  /** The server was asked whether it is there: nothing, or what went wrong. */
  onProbe(error: unknown): void;
}

export class RedisServer {
  readonly commands: Redis;
  readonly #subscriber: Redis;
  readonly #users = new Set<RedisUser>();
  readonly #onUnused: () => void;
  readonly #probe: NodeJS.Timeout;

  /** `onUnused` is called when the last user has left, and the connections are closed. */
  constructor(url: string, onUnused: () => void) {
    const options = {
      lazyConnect: true,
      connectTimeout: ANSWER_MS,
      commandTimeout: ANSWER_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: (times: number): number => backoffMs(times),
    };
    this.#onUnused = onUnused;
    this.commands = new Redis(url, options);
    this.#subscriber = new Redis(url, { ...options, autoResubscribe: false });
    // Every command tells of its own failure; an error nobody hears would end everything.
    for (const client of [this.commands, this.#subscriber]) client.on('error', () => undefined);
    this.commands.on('ready', () => this.#tellReady());
    this.#subscriber.on('ready', () => void this.#subscribe([...this.#users]));
    this.#subscriber.on('message', (channel: string, message: string) => {
      for (const user of this.#users) if (user.channels.includes(channel)) user.onMessage(channel, message);
    });
    this.commands.connect().catch(() => undefined);
    this.#subscriber.connect().catch(() => undefined);
    this.#probe = setInterval(() => void this.#ask(), PROBE_MS);
  }

  /** The database of its address. */
  get database(): number {
    return this.#subscriber.options.db ?? 0;
  }

  join(user: RedisUser): void {
    this.#users.add(user);
    if (this.#subscriber.status === 'ready') void this.#subscribe([user]);
  }

  leave(user: RedisUser): void {
    if (!this.#users.delete(user)) return;
    if (this.#users.size > 0) {
      const used = new Set([...this.#users].flatMap(({ channels }) => channels));
      const unused = user.channels.filter((channel) => !used.has(channel));
      // A connection that is lost has no subscriptions either.
      if (unused.length > 0) this.#subscriber.unsubscribe(...unused).catch(() => undefined);
      return;
    }
    clearInterval(this.#probe);
    this.commands.disconnect();
    this.#subscriber.disconnect();
    this.#onUnused();
  }

  #tellReady(): void {
    for (const user of this.#users) user.onReady();
  }

  /** What changed while nobody listened is read afterwards. */
  async #subscribe(users: readonly RedisUser[]): Promise<void> {
    try {
      await this.#subscriber.subscribe(...users.flatMap(({ channels }) => channels));
      for (const user of users) user.onReady();
    } catch {
      // The connection is lost again, and 'ready' comes again.
    }
  }

  async #ask(): Promise<void> {
    const error: unknown = await this.commands.ping().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    for (const user of [...this.#users]) user.onProbe(error);
  }
}
