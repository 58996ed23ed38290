/**
 * Follows keys of etcd through its JSON gateway (etcd.io/docs/v3.5/dev-guide/api_grpc_gateway): reads them all at one
 * revision, then watches from the next one, so that no change in between is missed. After a compaction or a lost
 * connection it reads them all again.
 */

import { z } from 'zod';
import { backoffMs } from './backoff.ts';
import type { EtcdServer } from './etcd-server.ts';
import type { EtcdSession } from './etcd-session.ts';

/** Interval of probes, which detect a server or a watch that is connected but hangs. */
const PROBE_MS = 2000;
/** Codes that say enough; other errors, such as those of TLS, need their message as well. */
const SYSTEM_ERROR = /^(?:E[A-Z]+|UND_.*)$/;

/** 64 bits, as text in JSON; zero is omitted. */
const integer = z.union([z.string(), z.number()]).transform(Number);
const header = z.object({ revision: integer });
const keyValue = z.object({
  key: z.string(),
  value: z.string().prefault(''),
  mod_revision: integer.prefault(0),
  version: integer.prefault(0),
});
const rangeAnswer = z.object({ header, kvs: z.array(keyValue).prefault([]), count: integer.prefault(0) });
const watchAnswer = z.object({
  result: z.object({
    header,
    canceled: z.boolean().optional(),
    cancel_reason: z.string().optional(),
    compact_revision: integer.optional(),
    events: z.array(z.object({ type: z.string().optional(), kv: keyValue })).prefault([]),
  }),
});

export interface EtcdKeysOptions<Value> {
  readonly server: EtcdServer;
  readonly firstKey: string;
  /** Ends with `/`; every key with this prefix is followed in addition to `firstKey`. */
  readonly prefix: string;
  readonly read: (bytes: Buffer) => Value;
  /** Changes are reported after a pause of this length, and at the latest `mostSettleMs` after the first. */
  readonly settleMs: number;
  readonly mostSettleMs: number;
}

export interface EtcdKeysListener<Value> {
  /**
   * Passes all keys as of one revision, never of half a revision: etcd sends the events of a revision together
   * (etcd.io/docs/v3.5/learning/api_guarantees). The map is modified in place later.
   */
  onKeys(values: ReadonlyMap<string, Value>, revision: number): void;
  /** Called if the keys cannot be read; the last ones remain valid. */
  onFault(problem: string): void;
}

export class EtcdKeys<Value> {
  readonly #options: EtcdKeysOptions<Value>;
  readonly #stopped = new AbortController();
  #values = new Map<string, Value>();
  /** Revision of the newest change that was read or received. */
  #revision = 0;
  /** Number of keys in the range at that revision, including those that are skipped. */
  #count = 0;
  #failures = 0;
  #settling: NodeJS.Timeout | undefined;
  #tellByMs = 0;

  constructor(options: EtcdKeysOptions<Value>) {
    this.#options = options;
  }

  /** Resolves when the keys have been read, or every member has failed once. */
  start(listener: EtcdKeysListener<Value>): Promise<void> {
    this.#options.server.join();
    return new Promise((resolve) => void this.#follow(listener, resolve).finally(resolve));
  }

  stop(): void {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    clearTimeout(this.#settling);
    this.#options.server.leave();
  }

  /** Runs until stopped. Calls `onTried` after the first success, or after every member has failed once. */
  async #follow(listener: EtcdKeysListener<Value>, onTried: () => void): Promise<void> {
    const { server } = this.#options;
    const { endpoints } = server;
    while (!this.#stopped.signal.aborted) {
      const endpoint = endpoints[this.#failures % endpoints.length] ?? '';
      try {
        const session = await server.session();
        const next = await this.#readAll(session, endpoint, listener);
        onTried();
        await this.#watch(session, endpoint, next, listener);
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        listener.onFault(`${endpoint} cannot be read: ${reasonOf(error)}`);
        await this.#pause(backoffMs(this.#failures));
        this.#failures += 1;
        if (this.#failures >= endpoints.length) onTried();
      }
    }
  }

  /** Reads all keys and returns the revision to watch from. */
  async #readAll(session: EtcdSession, endpoint: string, listener: EtcdKeysListener<Value>): Promise<number> {
    const { header, kvs } = await this.#ask(session, endpoint, {});
    this.#values = new Map();
    for (const { key, value } of kvs) this.#put(key, value);
    this.#revision = header.revision;
    this.#count = kvs.length;
    this.#tell(listener);
    this.#failures = 0;
    return header.revision + 1;
  }

  /** Follows changes. Returns if all keys must be read again; throws if the connection ends, hangs or is refused. */
  async #watch(
    session: EtcdSession,
    endpoint: string,
    start: number,
    listener: EtcdKeysListener<Value>,
  ): Promise<void> {
    const ending = new AbortController();
    const signal = AbortSignal.any([ending.signal, this.#stopped.signal]);
    const create = { ...this.#range(), start_revision: start, progress_notify: true };
    const probing = this.#probe(session, endpoint, signal).catch((error: unknown) => ending.abort(error));
    try {
      const lines = session.follow(endpoint, 'watch', { create_request: create }, signal);
      for await (const line of lines) if (!this.#take(line, listener)) return;
      throw new Error('the watch ended');
    } catch (error) {
      if (ending.signal.reason === READ_AGAIN) return;
      throw ending.signal.aborted ? ending.signal.reason : error;
    } finally {
      ending.abort();
      await probing;
    }
  }

  /** Returns false after a compaction: all keys must be read again. */
  #take(line: string, listener: EtcdKeysListener<Value>): boolean {
    const { result } = watchAnswer.parse(JSON.parse(line));
    if (result.compact_revision !== undefined) return false;
    if (result.canceled === true) throw new Error(`the watch was canceled ${shown(result.cancel_reason)}`);
    for (const { type, kv } of result.events) {
      if (type === 'DELETE') this.#values.delete(keyOf(kv.key));
      else this.#put(kv.key, kv.value);
      if (type === 'DELETE') this.#count -= 1;
      else if (kv.version === 1) this.#count += 1;
      // The revision of the header may be ahead of the events sent so far.
      this.#revision = kv.mod_revision;
    }
    if (result.events.length > 0) this.#tellSoon(listener);
    return true;
  }

  /** Skips keys that only happen to lie in the range, as `/fleet-2` does between `/fleet` and `/fleet/`. */
  #put(encodedKey: string, value: string): void {
    const key = keyOf(encodedKey);
    const { firstKey, prefix, read } = this.#options;
    if (key === firstKey || key.startsWith(prefix)) this.#values.set(key, read(Buffer.from(value, 'base64')));
  }

  #tellSoon(listener: EtcdKeysListener<Value>): void {
    const { settleMs, mostSettleMs } = this.#options;
    const nowMs = performance.now();
    if (this.#settling === undefined) this.#tellByMs = nowMs + mostSettleMs;
    clearTimeout(this.#settling);
    const inMs = Math.max(0, Math.min(settleMs, this.#tellByMs - nowMs));
    this.#settling = setTimeout(() => this.#tell(listener), inMs);
  }

  #tell(listener: EtcdKeysListener<Value>): void {
    clearTimeout(this.#settling);
    this.#settling = undefined;
    listener.onKeys(this.#values, this.#revision);
  }

  /** `0` follows `/` in ASCII, so the range of `/fleet/` ends before `/fleet0`. */
  #range(): { readonly key: string; readonly range_end: string } {
    const { firstKey, prefix } = this.#options;
    return { key: encode(firstKey), range_end: encode(`${prefix.slice(0, -1)}0`) };
  }

  #ask(session: EtcdSession, endpoint: string, question: object): Promise<z.output<typeof rangeAnswer>> {
    return session
      .ask(endpoint, 'kv/range', { ...this.#range(), ...question }, this.#stopped.signal)
      .then((text) => rangeAnswer.parse(JSON.parse(text)));
  }

  /**
   * Rejects if the server hangs, refuses, or has to be asked with other credentials than those of the watch, and if the
   * watch missed changes that etcd has: a connection that is lost on its way need not end.
   */
  async #probe(session: EtcdSession, endpoint: string, signal: AbortSignal): Promise<void> {
    let wholeAt = this.#revision;
    let behindAt: number | undefined;
    while (!signal.aborted) {
      await this.#pause(PROBE_MS, signal);
      if (signal.aborted) return;
      if ((await this.#options.server.session()) !== session) throw READ_AGAIN;
      const wholeNow = await this.#wholeAt(session, endpoint, wholeAt);
      if (wholeNow === undefined && behindAt === this.#revision) throw READ_AGAIN;
      behindAt = wholeNow === undefined ? this.#revision : undefined;
      wholeAt = wholeNow ?? wholeAt;
    }
  }

  /**
   * Returns the revision up to which the watch has sent everything; undefined if it is behind. etcd counts keys by its
   * index but scans all of them for the newest, so that is asked only if anything has changed since `wholeAt`.
   */
  async #wholeAt(session: EtcdSession, endpoint: string, wholeAt: number): Promise<number | undefined> {
    const { header, count } = await this.#ask(session, endpoint, { count_only: true });
    if (count !== this.#count) return undefined;
    if (header.revision <= wholeAt) return wholeAt;
    const { kvs } = await this.#ask(session, endpoint, { ...NEWEST, min_mod_revision: this.#revision + 1 });
    return (kvs[0]?.mod_revision ?? 0) > this.#revision ? undefined : header.revision;
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

/** Ends the watch, so that all keys are read again. */
const READ_AGAIN = new Error('the watch has stopped, or the credentials of the server have changed');
/** Asks for the key that was changed last. */
const NEWEST = { keys_only: true, limit: 1, sort_target: 'MOD', sort_order: 'DESCEND' };

const encode = (text: string): string => Buffer.from(text).toString('base64');
const keyOf = (encoded: string): string => Buffer.from(encoded, 'base64').toString('utf8');

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) return 'the answer is not in the format of etcd 3';
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? String(error.code) : undefined;
  if (code === undefined || SYSTEM_ERROR.test(code)) return code ?? error.message;
  return `${error.message.split('\n', 1)[0]} (${code})`;
}

/** Shortens a server's text and escapes control characters, which could act on a terminal. */
const shown = (reason = ''): string => JSON.stringify(reason.slice(0, 200));
