/**
 * A list in etcd, by its JSON gateway (etcd.io/docs/v3.5/dev-guide/api_grpc_gateway): the key itself as text, or one key
 * an entry below it. Read whole at one revision, then followed by a watch from the next one, so that nothing in between
 * is missed; after a compaction, or when the connection is lost, read whole again.
 */

import { Agent, request } from 'undici';
import { z } from 'zod';
import { backoffMs } from './backoff.ts';
import type { Feed, FeedListener } from './live-list.ts';

const ANSWER_MS = 3000;
/** A server that is there but stands still is found out by asking it so often. */
const PROBE_MS = 2000;
const MOST_BYTES = 64 * 1024 * 1024;
/** A watch event, one line; etcd's own limit on a request is 1.5 MiB. */
const MOST_LINE = 16 * 1024 * 1024;
/** Events of one burst become one reading. */
const SETTLE_MS = 20;

const revision = z.union([z.string(), z.number()]).transform(Number);
const keyValue = z.object({ key: z.string(), value: z.string().prefault('') });
const rangeAnswer = z.object({
  header: z.object({ revision }),
  kvs: z.array(keyValue).prefault([]),
});
const watchAnswer = z.object({
  result: z.object({
    canceled: z.boolean().optional(),
    compact_revision: revision.optional(),
    events: z.array(z.object({ type: z.string().optional(), kv: keyValue })).prefault([]),
  }),
});

export class EtcdFeed implements Feed {
  readonly place: string;
  readonly #endpoints: readonly string[];
  readonly #key: string;
  readonly #agent = new Agent({ connect: { timeout: ANSWER_MS }, bodyTimeout: 0 });
  #entries = new Map<string, string>();
  #stopped = new AbortController();
  #failures = 0;
  #told: NodeJS.Timeout | undefined;

  constructor(endpoints: readonly string[], key: string) {
    this.place = `etcd ${key}`;
    this.#endpoints = endpoints;
    this.#key = key;
  }

  start(listener: FeedListener): Promise<void> {
    return new Promise((resolve) => void this.#follow(listener, resolve).finally(resolve));
  }

  stop(): void {
    this.#stopped.abort();
    clearTimeout(this.#told);
    void this.#agent.destroy();
  }

  /** Until it is stopped; `onTried` is called after the first attempt. */
  async #follow(listener: FeedListener, onTried: () => void): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const endpoint = this.#endpoints[this.#failures % this.#endpoints.length] ?? '';
      try {
        const next = await this.#readAll(endpoint, listener);
        onTried();
        await this.#watch(endpoint, next, listener);
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        listener.onFault(`${endpoint} cannot be read: ${reasonOf(error)}`);
        onTried();
        await this.#pause(backoffMs(this.#failures));
        this.#failures += 1;
      }
    }
  }

  /** The revision after the one that was read. */
  async #readAll(endpoint: string, listener: FeedListener): Promise<number> {
    const text = await this.#ask(`${endpoint}/v3/kv/range`, this.#range());
    const { header, kvs } = rangeAnswer.parse(JSON.parse(text));
    this.#entries = new Map();
    for (const { key, value } of kvs) this.#put(decode(key), decode(value));
    this.#tell(listener);
    this.#failures = 0;
    return header.revision + 1;
  }

  /** Follows the changes until the connection ends, stands still, or the revision is too old. */
  async #watch(endpoint: string, start: number, listener: FeedListener): Promise<void> {
    const ending = new AbortController();
    const signal = AbortSignal.any([ending.signal, this.#stopped.signal]);
    const create = { ...this.#range(), start_revision: start, progress_notify: true };
    const probing = this.#probe(endpoint, signal).catch((error: unknown) => ending.abort(error));
    try {
      const { statusCode, body } = await request(`${endpoint}/v3/watch`, {
        method: 'POST',
        body: JSON.stringify({ create_request: create }),
        dispatcher: this.#agent,
        headersTimeout: 0,
        signal,
      });
      if (statusCode !== 200) throw new Error(`the watch was answered with ${statusCode}`);
      let rest = '';
      for await (const piece of body.setEncoding('utf8')) {
        rest += piece;
        if (rest.length > MOST_LINE) throw new Error('the watch sent a line without an end');
        const lines = rest.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '' && !this.#take(line, listener)) return;
      }
      throw new Error('the watch ended');
    } catch (error) {
      throw ending.signal.aborted ? ending.signal.reason : error;
    } finally {
      ending.abort();
      await probing;
    }
  }

  /** False when the list has to be read whole again. */
  #take(line: string, listener: FeedListener): boolean {
    const { result } = watchAnswer.parse(JSON.parse(line));
    if (result.canceled === true || result.compact_revision !== undefined) return false;
    for (const { type, kv } of result.events) {
      if (type === 'DELETE') this.#entries.delete(decode(kv.key));
      else this.#put(decode(kv.key), decode(kv.value));
    }
    if (result.events.length > 0) this.#tellSoon(listener);
    return true;
  }

  #put(key: string, value: string): void {
    if (key === this.#key || key.startsWith(this.#below)) this.#entries.set(key, value);
  }

  #tellSoon(listener: FeedListener): void {
    this.#told ??= setTimeout(() => {
      this.#told = undefined;
      this.#tell(listener);
    }, SETTLE_MS);
  }

  #tell(listener: FeedListener): void {
    const whole = this.#entries.get(this.#key);
    if (whole !== undefined && this.#entries.size === 1) listener.onSnapshot({ kind: 'text', text: whole });
    else listener.onSnapshot({ kind: 'keyed', entries: this.#keyed() });
  }

  /** The value of a key is its entry; one that has none, or only what goes with it, has the prefix in its name. */
  #keyed(): Map<string, string> {
    const entries = new Map<string, string>();
    for (const [key, value] of this.#entries) {
      if (key === this.#key) {
        for (const [index, line] of value.split('\n').entries()) entries.set(`line ${index + 1}`, line);
        continue;
      }
      const name = key.slice(this.#below.length);
      const aside = value.trim() === '' || /^\s*(?:until=|#)/.test(value);
      entries.set(name, aside ? `${name} ${value}` : value);
    }
    return entries;
  }

  get #below(): string {
    return this.#key.endsWith('/') ? this.#key : `${this.#key}/`;
  }

  /** From the key to the last of those below it; what lies between by accident is left out by `#put`. */
  #range(): { readonly key: string; readonly range_end: string } {
    const end = `${this.#below.slice(0, -1)}0`;
    return { key: encode(this.#key), range_end: encode(end) };
  }

  async #probe(endpoint: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#pause(PROBE_MS, signal);
      if (!signal.aborted) await this.#ask(`${endpoint}/v3/kv/range`, { ...this.#range(), count_only: true });
    }
  }

  async #ask(url: string, body: object): Promise<string> {
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(ANSWER_MS)]);
    const answer = await request(url, {
      method: 'POST',
      body: JSON.stringify(body),
      dispatcher: this.#agent,
      signal,
    });
    let text = '';
    for await (const piece of answer.body.setEncoding('utf8')) {
      text += piece;
      if (text.length > MOST_BYTES) throw new Error(`the answer is larger than ${MOST_BYTES} bytes`);
    }
    if (answer.statusCode !== 200) throw new Error(`it answered ${answer.statusCode}`);
    return text;
  }

  #pause(ms: number, signal: AbortSignal = this.#stopped.signal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener('abort', end);
    });
  }
}

const encode = (text: string): string => Buffer.from(text).toString('base64');
const decode = (text: string): string => Buffer.from(text, 'base64').toString('utf8');

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) return 'its answer has another form than etcd 3 gives it';
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
