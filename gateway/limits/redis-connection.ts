/** One connection to Redis for requests that wait: a command gets an answer in time, or none. */

import { Redis } from 'ioredis';
import { Deadlines, Expiring } from '../core/deadlines.ts';
import { messageOf } from '../core/error-text.ts';
import { backoffMs } from '../lists/backoff.ts';
import { accessOptions } from '../lists/redis-options.ts';
import type { RedisAddress } from '../lists/redis-server.ts';
import { type Access, accessTo, type FindAccess } from '../lists/server-access.ts';
import { type LimitScript, SCRIPTS } from './limit-scripts.ts';

/** Time limit for an answer. With what a tick and a busy event loop add, it stays below 50 ms. */
const ANSWER_MS = 40;
const TICK_MS = 4;
/** A longer pause of the process counts as this much, so that an answer gets a few ticks to be read. */
const MAX_TICK_MS = 10;
const CONNECT_MS = 1000;
/** A connection that is silent for this long while an answer is due is dropped, since a new one may work. */
const SILENT_MS = 5000;
const MAX_BACKOFF_MS = 2000;

/** Why there was no answer: none in time, no connection, or an error reply. */
export type StoreFailure = 'timeout' | 'connection' | 'refused';

/** What a script returned, or why it did not. */
export type StoreReply =
  | { readonly ok: true; readonly numbers: readonly number[] }
  | { readonly ok: false; readonly failure: StoreFailure; readonly reason: string };

export class RedisConnection {
  readonly #url: string;
  readonly #find: () => Promise<Access | undefined>;
  readonly #onLost: (reason: string | undefined) => void;
  #client: Redis | undefined;
  #access: Access | undefined;
  #renewing = false;
  #closed = false;
  readonly #answerMs: number;
  /** On a clock that stops while no answer is due. */
  readonly #deadlines = new Deadlines(0);
  #tickedAtMs = 0;
  #ticking = false;

  /** `onLost` is called whenever the connection is lost, with the error if there was one. */
  constructor(
    { url, access }: RedisAddress,
    find: FindAccess | undefined,
    onLost: (reason: string | undefined) => void,
    answerMs = ANSWER_MS,
  ) {
    this.#answerMs = answerMs;
    this.#url = url;
    this.#find = () => accessTo(access, find);
    this.#onLost = onLost;
  }

  /**
   * Resolves when it is connected or has failed; it then keeps retrying by itself. A later call checks whether the
   * access files have changed: if so, a new connection replaces this one, even if it fails.
   */
  async connect(): Promise<void> {
    if (this.#renewing) return;
    this.#renewing = true;
    try {
      const access = await this.#find();
      if (this.#closed || (this.#client !== undefined && access === this.#access)) return;
      const client = this.#newClient(access);
      await client.connect().catch(() => undefined);
      if (this.#closed) return client.disconnect();
      const before = this.#client;
      this.#client = client;
      this.#access = access;
      before?.quit().catch(() => before.disconnect());
    } catch (error) {
      if (this.#client === undefined) this.#onLost(messageOf(error));
    } finally {
      this.#renewing = false;
    }
  }

  #newClient(access: Access | undefined): Redis {
    let reason: string | undefined;
    const client = new Redis(this.#url, {
      ...accessOptions(access),
      lazyConnect: true,
      connectTimeout: CONNECT_MS,
      socketTimeout: SILENT_MS,
      enableOfflineQueue: false,
      // It sends INFO, which the Redis user may lack permission for; replies show whether Redis is ready.
      enableReadyCheck: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times: number): number => Math.min(MAX_BACKOFF_MS, backoffMs(times)),
      // The name may resolve to another server by now.
      reconnectOnError: (error: Error): boolean => error.message.startsWith('READONLY'),
    });
    client.on('error', (error: Error) => {
      reason = error.message;
    });
    client.on('ready', () => {
      reason = undefined;
      // Preloads the scripts, so that requests need not send their text; if this fails, they do.
      for (const { text } of SCRIPTS) void client.script('LOAD', text).catch(() => undefined);
    });
    client.on('close', () => {
      if (this.#client === client || this.#client === undefined) this.#onLost(reason);
    });
    return client;
  }

  /** Never rejects. `onLate` is called with an answer that comes after the time limit. */
  run(
    script: LimitScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    onLate?: (numbers: readonly number[]) => void,
  ): Promise<StoreReply> {
    return new Promise((resolve) => {
      const waiting = new Waiting(resolve, this.#answerMs);
      this.#watch(waiting);
      this.#evaluate(script, keys, args).then(
        (reply) => {
          this.#deadlines.disarm(waiting);
          const numbers = numbersOf(reply);
          if (!waiting.settle({ ok: true, numbers })) onLate?.(numbers);
        },
        (error: unknown) => {
          this.#deadlines.disarm(waiting);
          waiting.settle(failureOf(error));
        },
      );
    });
  }

  close(): void {
    this.#closed = true;
    this.#client?.disconnect();
  }

  /** Redis forgets scripts on restart and SCRIPT FLUSH. */
  async #evaluate(
    { digest, text }: LimitScript,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const client = this.#client;
    if (client === undefined) throw new Error('not connected yet');
    try {
      return await client.evalsha(digest, keys.length, ...keys, ...args);
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      return client.eval(text, keys.length, ...keys, ...args);
    }
  }

  /** Uses one timer for all pending answers, and none if there are none. */
  #watch(waiting: Waiting): void {
    if (!this.#ticking) {
      this.#ticking = true;
      this.#tickedAtMs = performance.now();
      setTimeout(this.#tick, TICK_MS);
    }
    this.#deadlines.arm(waiting, this.#answerMs);
  }

  /** An immediate runs after I/O: what arrived while the process was busy is read before it counts as late. */
  readonly #tick = (): void => {
    setImmediate(() => {
      const nowMs = performance.now();
      const tickMs = Math.min(MAX_TICK_MS, nowMs - this.#tickedAtMs);
      this.#tickedAtMs = nowMs;
      this.#deadlines.sweep(this.#deadlines.nowMs + tickMs);
      this.#ticking = this.#deadlines.size > 0;
      if (this.#ticking) setTimeout(this.#tick, TICK_MS);
    });
  };
}

class Waiting extends Expiring {
  readonly #resolve: (reply: StoreReply) => void;
  readonly #answerMs: number;
  #settled = false;

  constructor(resolve: (reply: StoreReply) => void, answerMs: number) {
    super();
    this.#resolve = resolve;
    this.#answerMs = answerMs;
  }

  /** Returns false if the reply comes too late. */
  settle(reply: StoreReply): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#resolve(reply);
    return true;
  }

  override expire(): void {
    this.settle({ ok: false, failure: 'timeout', reason: `no answer within ${this.#answerMs} ms` });
  }
}

function numbersOf(reply: unknown): readonly number[] {
  return Array.isArray(reply) ? reply.map(Number) : [];
}

/** Error replies begin with a word in capitals. Only the text is kept: an error also holds the command's arguments. */
function failureOf(error: unknown): StoreReply {
  const reason = messageOf(error);
  return { ok: false, failure: /^[A-Z]{2,} /.test(reason) ? 'refused' : 'connection', reason };
}
