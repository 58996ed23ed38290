/**
 * A list in Redis: a set of entries, or a string with one a line. Changes are heard of by keyspace notifications, where
 * the server sends them, and on the channel `<key>:changes`, where `+ entry` and `- entry` say which entry of a set has
 * changed and anything else asks for reading it again. Behind both stand a look at how much there is, which finds what was
 * added though nobody tells of it, and a slow poll.
 */

import type { Feed, FeedListener, KeyedEntries } from './live-list.ts';
import type { RedisServer, RedisUser } from './redis-server.ts';

const POLL_MS = 10_000;
/** What two looks in a row find is read: a revocation takes two seconds at most, and a message on its way comes first. */
const LOOK_MS = 600;
const SETTLE_MS = 20;

export class RedisFeed implements Feed, RedisUser {
  readonly place: string;
  readonly channels: readonly string[];
  readonly #key: string;
  readonly #server: RedisServer;
  #listener: FeedListener | undefined;
  /** What was told last, a set or a text; a poll that finds the same tells nothing. */
  #told: Set<string> | string | undefined;
  #reading: Promise<void> = Promise.resolve();
  #poll: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  /** The last look found another count than what was told has. */
  #differed = false;
  #soon: NodeJS.Timeout | undefined;
  /** Entries that are said to have changed since they were looked at. */
  readonly #changed = new Set<string>();
  #settling: NodeJS.Timeout | undefined;
  /** Why some of the channels are not heard, as it was told. */
  #deafness: string | undefined;
  #stopped = false;

  constructor(server: RedisServer, key: string) {
    this.place = `redis ${key}`;
    this.#key = key;
    this.#server = server;
    this.channels = [`__keyspace@${server.database}__:${key}`, `${key}:changes`];
  }

  async start(listener: FeedListener): Promise<void> {
    this.#listener = listener;
    this.#server.join(this);
    this.#poll = setInterval(() => this.#pollNow(), POLL_MS);
    this.#look = setInterval(() => void this.#count(), LOOK_MS);
    this.#readNext();
    await this.#reading;
  }

  settled(): Promise<void> {
    return this.#reading;
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#poll);
    clearInterval(this.#look);
    clearTimeout(this.#soon);
    clearTimeout(this.#settling);
    this.#server.leave(this);
  }

  onReady(): void {
    this.#readSoon();
  }

  onDeaf(reason: string | undefined): void {
    if (this.#stopped || reason === this.#deafness) return;
    this.#deafness = reason;
    if (reason === undefined) return;
    const channels = this.channels.map((channel) => `&${channel}`).join(' ');
    this.#listener?.onWarning(
      `changes are not heard of, and found late: ${reason}; its user needs its channels (${channels})`,
    );
  }

  onProbe(error: unknown): void {
    if (error !== undefined) this.#fail(error);
    else if (this.#told === undefined) this.#readSoon();
  }

  onMessage(channel: string, message: string): void {
    const [, entry] = /^[+-] ?(.+)$/.exec(message) ?? [];
    if (channel !== `${this.#key}:changes` || entry === undefined) this.#readSoon();
    else this.#lookSoon(entry);
  }

  /** Those that change together are told together: what is told is a copy of all there is. */
  #lookSoon(entry: string): void {
    this.#changed.add(entry);
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      this.#reading = this.#reading.then(() => this.#lookAtChanged());
    }, SETTLE_MS);
  }

  /** Who may publish need not be who may write: the set is asked about the entries. */
  async #lookAtChanged(): Promise<void> {
    const members = this.#told;
    const entries = [...this.#changed];
    this.#changed.clear();
    if (this.#stopped || !(members instanceof Set)) return this.#readSoon();
    try {
      const redis = await this.#server.commands();
      const answers = await Promise.all(entries.map((entry) => redis.sismember(this.#key, entry)));
      const changed = entries.filter((entry, index) => members.has(entry) !== (answers[index] === 1));
      for (const entry of changed) if (!members.delete(entry)) members.add(entry);
      if (changed.length > 0) this.#tell(members);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Members of a set, bytes of a text. */
  async #count(): Promise<void> {
    const told = this.#told;
    if (told === undefined) return;
    try {
      const redis = await this.#server.commands();
      const differs =
        typeof told === 'string'
          ? (await redis.strlen(this.#key)) !== Buffer.byteLength(told)
          : (await redis.scard(this.#key)) !== told.size;
      if (differs && this.#differed && told === this.#told) this.#readSoon();
      this.#differed = differs;
    } catch {
      // It is of another kind now, or cannot be asked: reading tells.
      this.#readSoon();
    }
  }

  #pollNow(): void {
    if (this.#deafness !== undefined) this.#server.join(this);
    this.#readSoon();
  }

  #readSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#readNext();
    }, SETTLE_MS);
  }

  /** One after the other, so that what is told last is the newest. */
  #readNext(): void {
    this.#reading = this.#reading.then(() => this.#read());
  }

  async #read(): Promise<void> {
    if (this.#stopped) return;
    try {
      const redis = await this.#server.commands();
      const type = await redis.type(this.#key);
      if (type === 'string') this.#takeText((await redis.get(this.#key)) ?? '');
      else if (type === 'set' || type === 'none') this.#takeMembers(await redis.smembers(this.#key));
      else this.#tellFault(`it is a ${type}, not a set or a string`);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#tellFault(`${this.#server.name} cannot be read: ${this.#server.reasonOf(error)}`);
  }

  #tellFault(problem: string): void {
    // What comes back after it is told again, same as before or not.
    this.#told = undefined;
    if (!this.#stopped) this.#listener?.onFault(problem);
  }

  #takeText(text: string): void {
    if (this.#stopped || text === this.#told) return;
    this.#told = text;
    this.#listener?.onSnapshot({ kind: 'text', text });
  }

  #takeMembers(members: readonly string[]): void {
    const told = this.#told;
    const same =
      told instanceof Set && told.size === members.length && members.every((each) => told.has(each));
    if (!this.#stopped && !same) this.#tell(new Set(members));
  }

  #tell(members: Set<string>): void {
    this.#told = members;
    this.#listener?.onSnapshot({ kind: 'keyed', entries: entriesOf([...members]) });
  }
}

/** Each by itself. An array is copied in a fiftieth of the time that a Map takes. */
function entriesOf(members: readonly string[]): KeyedEntries {
  return {
    *[Symbol.iterator]() {
      for (const member of members) yield [member, member] as const;
    },
  };
}
