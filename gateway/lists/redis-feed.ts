/**
 * A list in Redis: a set of entries, or a string with one a line. Changes are heard of by keyspace notifications, where
 * the server sends them, and on the channel `<key>:changes`, where `+ entry` and `- entry` say which entry of a set has
 * changed and anything else asks for reading it again; a slow poll stands behind both.
 */

import { Redis } from 'ioredis';
import { backoffMs } from './backoff.ts';
import type { Feed, FeedListener } from './live-list.ts';

const ANSWER_MS = 2000;
const POLL_MS = 10_000;
/** A server that is there but stands still is found out by asking it so often. */
const PROBE_MS = 2000;
const SETTLE_MS = 20;

export class RedisFeed implements Feed {
  readonly place: string;
  readonly #key: string;
  readonly #commands: Redis;
  readonly #subscriber: Redis;
  #listener: FeedListener | undefined;
  /** What was told last, a set or a text; a poll that finds the same tells nothing. */
  #told: Map<string, string> | string | undefined;
  #reading: Promise<void> = Promise.resolve();
  #poll: NodeJS.Timeout | undefined;
  #probe: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(url: string, key: string) {
    this.place = `redis ${key}`;
    this.#key = key;
    const options = {
      lazyConnect: true,
      connectTimeout: ANSWER_MS,
      commandTimeout: ANSWER_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: (times: number): number => backoffMs(times),
    };
    this.#commands = new Redis(url, options);
    this.#subscriber = new Redis(url, { ...options, autoResubscribe: false });
    // Every command tells of its own failure; an error nobody hears would end everything.
    for (const client of [this.#commands, this.#subscriber]) client.on('error', () => undefined);
  }

  async start(listener: FeedListener): Promise<void> {
    this.#listener = listener;
    this.#subscriber.on('ready', () => void this.#subscribe());
    this.#subscriber.on('message', (channel: string, message: string) => this.#onMessage(channel, message));
    this.#commands.on('ready', () => this.#readSoon());
    this.#commands.connect().catch(() => undefined);
    this.#subscriber.connect().catch(() => undefined);
    this.#poll = setInterval(() => this.#readSoon(), POLL_MS);
    this.#probe = setInterval(() => void this.#ask(), PROBE_MS);
    this.#readNext();
    await this.#reading;
  }

  settled(): Promise<void> {
    return this.#reading;
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#poll);
    clearInterval(this.#probe);
    clearTimeout(this.#soon);
    this.#commands.disconnect();
    this.#subscriber.disconnect();
  }

  /** What changed while nobody listened is read afterwards. */
  async #subscribe(): Promise<void> {
    const database = this.#subscriber.options.db ?? 0;
    try {
      await this.#subscriber.subscribe(`__keyspace@${database}__:${this.#key}`, `${this.#key}:changes`);
      this.#readSoon();
    } catch {
      // The connection is lost again, and 'ready' comes again.
    }
  }

  #onMessage(channel: string, message: string): void {
    const [, entry] = /^[+-] ?(.+)$/.exec(message) ?? [];
    if (channel !== `${this.#key}:changes` || entry === undefined) this.#readSoon();
    else this.#reading = this.#reading.then(() => this.#lookAt(entry));
  }

  /** Who may publish need not be who may write: the set is asked about the entry. */
  async #lookAt(entry: string): Promise<void> {
    const members = this.#told;
    if (this.#stopped || !(members instanceof Map)) return this.#readSoon();
    try {
      const isMember = (await this.#commands.sismember(this.#key, entry)) === 1;
      if (isMember === members.has(entry)) return;
      if (isMember) members.set(entry, entry);
      else members.delete(entry);
      this.#tell(members);
    } catch (error) {
      this.#fail(reasonOf(error));
    }
  }

  async #ask(): Promise<void> {
    try {
      await this.#commands.ping();
      if (this.#told === undefined) this.#readSoon();
    } catch (error) {
      this.#fail(reasonOf(error));
    }
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
      const type = await this.#commands.type(this.#key);
      if (type === 'string') this.#takeText((await this.#commands.get(this.#key)) ?? '');
      else if (type === 'set' || type === 'none') this.#takeMembers(await this.#commands.smembers(this.#key));
      else this.#fail(`it is a ${type}, not a set or a string`);
    } catch (error) {
      this.#fail(reasonOf(error));
    }
  }

  #fail(problem: string): void {
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
      told instanceof Map && told.size === members.length && members.every((each) => told.has(each));
    if (!this.#stopped && !same) this.#tell(new Map(members.map((member) => [member, member])));
  }

  #tell(members: Map<string, string>): void {
    this.#told = members;
    this.#listener?.onSnapshot({ kind: 'keyed', entries: new Map(members) });
  }
}

function reasonOf(error: unknown): string {
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}
