/** One connection to a Redis that is asked while somebody waits: an answer in time, or none. */

import { Redis } from 'ioredis';
import { Deadlines, Expiring } from '../core/deadlines.ts';
import { messageOf } from '../core/error-text.ts';
import { backoffMs } from '../lists/backoff.ts';
import { accessOptions } from '../lists/redis-options.ts';
import type { RedisAddress } from '../lists/redis-server.ts';
import { type Access, accessTo, type FindAccess } from '../lists/server-access.ts';
import { type LimitScript, SCRIPTS } from './limit-scripts.ts';

/** How long an answer is waited for. With what a tick and a busy loop add it is less than 50 ms. */
const ANSWER_MS = 40;
const TICK_MS = 4;
/** A process that was busy for longer counts that much: an answer gets the time of a few ticks to be read. */
const MAX_TICK_MS = 10;
const CONNECT_MS = 1000;
/** A connection that is silent for so long while an answer is due is given up; there may be a new one to be had. */
const SILENT_MS = 5000;
const MAX_BACKOFF_MS = 2000;

/** Why there was no answer: none in time, no connection, or one that says no. */
export type StoreFailure = 'timeout' | 'connection' | 'refused';

/** What a script has answered, or why it has not. */
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
  /** By a clock that stands while nobody waits. */
  readonly #deadlines = new Deadlines(0);
  #tickedAtMs = 0;
  #ticking = false;

  /** `onLost` is called whenever the connection is gone, with the error that it was, if it was one. */
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
   * Resolves when it is connected or cannot be; then it goes on trying by itself. Called again it looks whether the files of its
   * access hold something else: a connection made with that takes the place of this one, whatever comes of it.
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
      // It asks for INFO, which a user of limits need not be allowed; whether Redis is ready its answers tell.
      enableReadyCheck: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times: number): number => Math.min(MAX_BACKOFF_MS, backoffMs(times)),
      // The name may stand for another server by now.
      reconnectOnError: (error: Error): boolean => error.message.startsWith('READONLY'),
    });
    client.on('error', (error: Error) => {
      reason = error.message;
    });
    client.on('ready', () => {
      reason = undefined;
      // So that no request has to bring a script along; where it fails, requests do.
      for (const { text } of SCRIPTS) void client.script('LOAD', text).catch(() => undefined);
    });
    client.on('close', () => {
      if (this.#client === client || this.#client === undefined) this.#onLost(reason);
    });
    return client;
  }

  /** Never rejects. `onLate` gets an answer that comes after there was none. */
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

  /** Redis forgets scripts when it is restarted or told to. */
  async #evaluate(
    { digest, text }: LimitScript,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const client = this.#client;
    if (client === undefined) throw new Error('there is no connection yet');
    try {
      return await client.evalsha(digest, keys.length, ...keys, ...args);
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      return client.eval(text, keys.length, ...keys, ...args);
    }
  }

  /** One timer for all that wait, and none when nobody does. */
  #watch(waiting: Waiting): void {
    if (!this.#ticking) {
      this.#ticking = true;
      this.#tickedAtMs = performance.now();
      setTimeout(this.#tick, TICK_MS);
    }
    this.#deadlines.arm(waiting, this.#answerMs);
  }

  /** What has arrived while the process was busy is read before it counts as late: after timers, before immediates. */
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

  /** Whether somebody still waited for it. */
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

/** Replies of Redis begin with a word in capitals. An error also holds the command with its arguments: only the text is kept. */
function failureOf(error: unknown): StoreReply {
  const reason = messageOf(error);
  return { ok: false, failure: /^[A-Z]{2,} /.test(reason) ? 'refused' : 'connection', reason };
}
