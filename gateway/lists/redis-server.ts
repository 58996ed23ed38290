/** One Redis as all lists of it share it: a connection for commands, one for subscriptions, and one probe. */

import { Redis } from 'ioredis';
import { messageOf } from '../core/error-text.ts';
import { backoffMs } from './backoff.ts';
import { nameOf } from './redis-name.ts';
import { accessOptions } from './redis-options.ts';
import { type Access, accessTo, type FindAccess, type ServerAccess } from './server-access.ts';

const ANSWER_MS = 2000;
/** A server that is there but stands still is found out by asking it so often. */
const PROBE_MS = 2000;

export interface RedisAddress {
  /** It may name a user and a password. */
  readonly url: string;
  readonly access?: ServerAccess;
}

/** A list that lives there. */
export interface RedisUser {
  /** Messages of these are for it. */
  readonly channels: readonly string[];
  onMessage(channel: string, message: string): void;
  /** Connected, or subscribed, anew: what happened before was not heard. */
  onReady(): void;
  /** Why the server does not tell of some of its channels; nothing when it does of all. */
  onDeaf(reason: string | undefined): void;
  /** The server was asked whether it is there: nothing, or what went wrong. */
  onProbe(error: unknown): void;
}

/** Both connections, made with one access. */
interface Connections {
  readonly access: Access | undefined;
  readonly commands: Redis;
  readonly subscriber: Redis;
}

export class RedisServer {
  /** For people. */
  readonly name: string;
  /** The database of its address. */
  readonly database: number;
  readonly #url: string;
  readonly #find: () => Promise<Access | undefined>;
  readonly #users = new Set<RedisUser>();
  readonly #onUnused: (() => void) | undefined;
  readonly #probe: NodeJS.Timeout;
  #connections: Connections | undefined;
  /** What keeps the connection from coming about. */
  #obstacle = '';
  #closed = false;

  /** `onUnused` is called when the last user has left, and the connections are closed. */
  constructor({ url, access }: RedisAddress, find?: FindAccess, onUnused?: () => void) {
    this.name = nameOf(url);
    this.#url = url;
    this.#find = () => accessTo(access, find);
    this.#onUnused = onUnused;
    this.database = new Redis(url, { lazyConnect: true }).options.db ?? 0;
    this.#probe = setInterval(() => void this.#ask(), PROBE_MS);
  }

  /** The connection for commands: another when the files of its access hold something else. Rejects while they cannot be used. */
  async commands(): Promise<Redis> {
    const access = await this.#find();
    if (this.#closed) throw new Error('nobody asks any more');
    const before = this.#connections;
    if (before !== undefined && before.access === access) return before.commands;
    const connections = this.#connect(access);
    this.#connections = connections;
    if (before !== undefined) retire(before);
    return connections.commands;
  }

  /** Why a command has failed: that there is no connection does not say why. */
  reasonOf(error: unknown): string {
    if (this.#obstacle !== '') return this.#obstacle;
    return messageOf(error);
  }

  /** Once more: channels that the server refused are asked for again. */
  join(user: RedisUser): void {
    this.#users.add(user);
    const { subscriber } = this.#connections ?? {};
    if (subscriber?.status === 'ready') void this.#subscribe(subscriber, [user]);
  }

  leave(user: RedisUser): void {
    if (!this.#users.delete(user)) return;
    if (this.#users.size > 0) {
      const used = new Set([...this.#users].flatMap(({ channels }) => channels));
      const unused = user.channels.filter((channel) => !used.has(channel));
      // A connection that is lost has no subscriptions either.
      if (unused.length > 0) this.#connections?.subscriber.unsubscribe(...unused).catch(() => undefined);
      return;
    }
    this.#closed = true;
    clearInterval(this.#probe);
    this.#connections?.commands.disconnect();
    this.#connections?.subscriber.disconnect();
    this.#onUnused?.();
  }

  #connect(access: Access | undefined): Connections {
    const options = {
      ...accessOptions(access),
      lazyConnect: true,
      connectTimeout: ANSWER_MS,
      commandTimeout: ANSWER_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: (times: number): number => backoffMs(times),
    };
    const commands = new Redis(this.#url, options);
    const subscriber = new Redis(this.#url, { ...options, autoResubscribe: false });
    // Every command tells of its own failure; an error nobody hears would end everything.
    commands.on('error', (error: Error) => {
      this.#obstacle = error.message;
    });
    subscriber.on('error', () => undefined);
    commands.on('ready', () => {
      this.#obstacle = '';
      this.#tellReady();
    });
    subscriber.on('ready', () => void this.#subscribe(subscriber, [...this.#users]));
    subscriber.on('message', (channel: string, message: string) => {
      for (const user of this.#users) if (user.channels.includes(channel)) user.onMessage(channel, message);
    });
    commands.connect().catch(() => undefined);
    subscriber.connect().catch(() => undefined);
    return { access, commands, subscriber };
  }

  #tellReady(): void {
    for (const user of this.#users) user.onReady();
  }

  /** What changed while nobody listened is read afterwards. */
  async #subscribe(subscriber: Redis, users: readonly RedisUser[]): Promise<void> {
    await Promise.all(
      users.map(async (user) => {
        try {
          const refusals = await Promise.all(user.channels.map((channel) => refusalOf(subscriber, channel)));
          user.onDeaf(refusals.find((each) => each !== undefined));
          user.onReady();
        } catch {
          // The connection is lost again, and 'ready' comes again.
        }
      }),
    );
  }

  async #ask(): Promise<void> {
    const error: unknown = await this.commands()
      .then((redis) => redis.ping())
      .then(
        () => undefined,
        (reason: unknown) => reason,
      );
    for (const user of [...this.#users]) user.onProbe(error);
  }
}

/** What was asked is still answered; what was not heard meanwhile is read by the next. */
function retire({ commands, subscriber }: Connections): void {
  subscriber.disconnect();
  commands.quit().catch(() => commands.disconnect());
}

/**
 * Why the server does not subscribe to the channel, nothing when it does; rejects when it does not answer. Channels are asked
 * for one by one: Redis refuses together what is asked together.
 */
async function refusalOf(subscriber: Redis, channel: string): Promise<string | undefined> {
  try {
    await subscriber.subscribe(channel);
    return undefined;
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return error.message;
    throw error;
  }
}
