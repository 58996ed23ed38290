/**
 * A list in Redis: a set of entries, or a string with one entry per line. Changes are noticed by keyspace notifications
 * if the server sends them, and on the channel `<key>:changes`, where `+ entry` and `- entry` name an entry of the set
 * that has changed, and any other message causes a read. In case neither arrives, the size is compared every 600 ms,
 * which finds additions, and the list is read every 10 s.
 */

import type { Feed, FeedListener, KeyedEntries } from './live-list.ts';
import type { RedisServer, RedisUser } from './redis-server.ts';

const POLL_MS = 10_000;
/** Two differing sizes in a row cause a read: a revocation takes at most 2 s, and a message in flight comes first. */
const LOOK_MS = 600;
const SETTLE_MS = 20;

export class RedisFeed implements Feed, RedisUser {
  readonly place: string;
  readonly channels: readonly string[];
  readonly #key: string;
  readonly #server: RedisServer;
  #listener: FeedListener | undefined;
  /** The last reported set or text; a read that finds the same reports nothing. */
  #told: Set<string> | string | undefined;
  #reading: Promise<void> = Promise.resolve();
  #poll: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  /** Whether the last comparison found a different size. */
  #differed = false;
  #soon: NodeJS.Timeout | undefined;
  /** Entries named in messages, still to be looked up in the set. */
  readonly #changed = new Set<string>();
  #settling: NodeJS.Timeout | undefined;
  /** Why the server refuses some of the channels, as last reported. */
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
      `changes are found late, since a channel is refused: ${reason}; the Redis user needs ${channels}`,
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

  /** Batches entries, since every report copies the whole set. */
  #lookSoon(entry: string): void {
    this.#changed.add(entry);
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      this.#reading = this.#reading.then(() => this.#lookAtChanged());
    }, SETTLE_MS);
  }

  /** Looks the entries up in the set, because a client that may publish need not be allowed to write. */
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

  /** Compares the size: members of a set, bytes of a text. */
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
      // The type has changed, or the server cannot be asked; a read finds out.
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

  /** Reads one after another, so that the last snapshot is the newest. */
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
    // The next read is reported even if it finds the same as before the fault.
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

/** Uses each member as its own key. Copying an array takes a fiftieth of the time of copying a Map. */
function entriesOf(members: readonly string[]): KeyedEntries {
  return {
    *[Symbol.iterator]() {
      for (const member of members) yield [member, member] as const;
    },
  };
}
