/** One Redis server, shared by its lists: a connection for commands, one for subscriptions, and one probe. */

import { Redis } from 'ioredis';
import { messageOf } from '../core/error-text.ts';
import { backoffMs } from './backoff.ts';
import { nameOf } from './redis-name.ts';
import { accessOptions } from './redis-options.ts';
import { type Access, accessTo, type FindAccess, type ServerAccess } from './server-access.ts';

const ANSWER_MS = 2000;
/** Interval of probes, which detect a server that is connected but hangs. */
const PROBE_MS = 2000;

export interface RedisAddress {
  /** May contain a user and a password. */
  readonly url: string;
  readonly access?: ServerAccess;
}

/** A list that uses the server. */
export interface RedisUser {
  /** Channels whose messages it receives. */
  readonly channels: readonly string[];
  onMessage(channel: string, message: string): void;
  /** Called after a connection or subscription is established: earlier messages were missed. */
  onReady(): void;
  /** Called with the reason if the server refuses some of the channels; with undefined once it accepts all. */
  onDeaf(reason: string | undefined): void;
  /** Called after each probe, with its error or undefined. */
  onProbe(error: unknown): void;
}

/** The two connections, made with the same credentials. */
interface Connections {
  readonly access: Access | undefined;
  readonly commands: Redis;
  readonly subscriber: Redis;
}

export class RedisServer {
  /** Display name. */
  readonly name: string;
  /** The database number in the URL; 0 by default. */
  readonly database: number;
  readonly #url: string;
  readonly #find: () => Promise<Access | undefined>;
  readonly #users = new Set<RedisUser>();
  readonly #onUnused: (() => void) | undefined;
  readonly #probe: NodeJS.Timeout;
  #connections: Connections | undefined;
  /** The last connection error; empty while connected. */
  #obstacle = '';
  #closed = false;

  /** `onUnused` is called when the last user has left and the connections have been closed. */
  constructor({ url, access }: RedisAddress, find?: FindAccess, onUnused?: () => void) {
    this.name = nameOf(url);
    this.#url = url;
    this.#find = () => accessTo(access, find);
    this.#onUnused = onUnused;
    this.database = new Redis(url, { lazyConnect: true }).options.db ?? 0;
    this.#probe = setInterval(() => void this.#ask(), PROBE_MS);
  }

  /** Returns the connection for commands; a new one if the access files changed. Rejects while they are unusable. */
  async commands(): Promise<Redis> {
    const access = await this.#find();
    if (this.#closed) throw new Error('the server is no longer used');
    const before = this.#connections;
    if (before !== undefined && before.access === access) return before.commands;
    const connections = this.#connect(access);
    this.#connections = connections;
    if (before !== undefined) retire(before);
    return connections.commands;
  }

  /** Returns why a command failed: the connection error if there is one, since it says more than the command's own. */
  reasonOf(error: unknown): string {
    if (this.#obstacle !== '') return this.#obstacle;
    return messageOf(error);
  }

  /** Adds a user. Calling it again retries channels that the server refused. */
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
      // This fails only if the connection is lost, and its subscriptions with it.
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
    // Each command reports its own failure; an `error` event without a listener would end the process.
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

  /** Lists read again after subscribing, because they missed earlier changes. */
  async #subscribe(subscriber: Redis, users: readonly RedisUser[]): Promise<void> {
    await Promise.all(
      users.map(async (user) => {
        try {
          const refusals = await Promise.all(user.channels.map((channel) => refusalOf(subscriber, channel)));
          user.onDeaf(refusals.find((each) => each !== undefined));
          user.onReady();
        } catch {
          // Connection lost: the next 'ready' subscribes again. No answer in time: until then, polls find changes.
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

/** Lets pending commands finish. The next connections read what was missed meanwhile. */
function retire({ commands, subscriber }: Connections): void {
  subscriber.disconnect();
  commands.quit().catch(() => commands.disconnect());
}

/**
 * Subscribes to a channel. Returns why the server refuses it, or undefined; rejects if it does not answer. One channel at a
 * time, because Redis refuses a whole command if it refuses one of its channels.
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
