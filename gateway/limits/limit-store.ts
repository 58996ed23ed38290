/** Limits that gateways share in Redis: claims, returns, renewal of places, and the number of gateways. */

import { hash, randomUUID } from 'node:crypto';
import type { FindAccess } from '../lists/server-access.ts';
import type { SharedState } from '../policy/gateway-settings.ts';
import type { LimitName, Quotas } from '../policy/policy.ts';
import { CLAIM, GIVE_BACK, HEARTBEAT, type LimitScript, RENEW } from './limit-scripts.ts';
import type { LimitsLeft } from './limits-backend.ts';
import { RedisConnection, type StoreFailure, type StoreReply } from './redis-connection.ts';
import { StoreBreaker } from './store-breaker.ts';

/** Time after which the places of a killed gateway are free. */
export const LEASE_MS = 15_000;
const RENEW_MS = LEASE_MS / 3;
const BEAT_MS = 2000;
const PRESENCE_MS = 10_000;
const MAX_UNRETURNED = 10_000;
const US = 1000;
const LIMITS: readonly (LimitName | undefined)[] = [undefined, 'requests', 'concurrent', 'bytes'];

/** A claim on limits in Redis. If no bytes are needed, none are taken and the budget cannot refuse. */
export interface StoreClaim {
  readonly key: string;
  readonly limits: Quotas;
  readonly neededBytes: number;
  /** Bytes to grant if the budget has them. */
  readonly wantedBytes: number;
}

export type StoreAnswer =
  | { readonly kind: 'grant'; readonly left: LimitsLeft; readonly place: string; readonly bytes: number }
  | {
      readonly kind: 'refusal';
      readonly limit: LimitName;
      readonly waitMs: number;
      readonly left: number;
    };

export interface StoreState {
  readonly isUp: boolean;
  /** Gateways that share the limits, as of the last heartbeat. */
  readonly gateways: number;
  readonly failures: Readonly<Record<StoreFailure, number>>;
}

export interface LimitStoreOptions {
  readonly findAccess?: FindAccess | undefined;
  /** Time limit for an answer; the default is how long a request can wait. */
  readonly answerMs?: number;
}

export class LimitStore {
  readonly #connection: RedisConnection;
  readonly #breaker: StoreBreaker;
  readonly #prefix: string;
  readonly #onChange: (isUp: boolean, reason: string) => void;
  readonly #name = randomUUID();
  readonly #places = new Map<string, Set<string>>();
  /** Places released while Redis was unavailable. Those beyond the bound expire. */
  readonly #unreturned: [string, string][] = [];
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #failures: Record<StoreFailure, number> = { timeout: 0, connection: 0, refused: 0 };
  #gateways = 1;
  #nextPlace = 0;
  #lastReason = '';
  #toldUp = true;
  #closed = false;

  constructor(
    { redis: url, access, prefix }: SharedState,
    onChange: (isUp: boolean, reason: string) => void,
    { findAccess, answerMs }: LimitStoreOptions = {},
  ) {
    this.#prefix = prefix;
    this.#onChange = onChange;
    this.#breaker = new StoreBreaker({
      onOpen: () => this.#changed(false),
      onTrial: () => void this.#beat().then(({ ok }) => this.#breaker.tried(ok)),
      onClose: () => {
        this.#changed(true);
        this.#catchUp();
      },
    });
    const at = { url, ...(access !== undefined && { access }) };
    const onLost = (reason: string | undefined): void => {
      this.#lastReason = reason ?? (this.#lastReason || 'the connection was closed');
      if (!this.#closed) this.#breaker.trip();
    };
    this.#connection = new RedisConnection(at, findAccess, onLost, answerMs);
    this.#timers = [
      setInterval(() => {
        void this.#connection.connect();
        if (this.isUp) void this.#beat();
      }, BEAT_MS),
      setInterval(() => {
        if (this.isUp) this.#renewAll();
      }, RENEW_MS),
    ];
  }

  /** Whether Redis is worth asking. */
  get isUp(): boolean {
    return this.#breaker.isClosed && !this.#closed;
  }

  get state(): StoreState {
    return { isUp: this.isUp, gateways: this.#gateways, failures: this.#failures };
  }

  /** Resolves when it is known whether Redis is available. */
  async open(): Promise<void> {
    await this.#connection.connect();
    await this.#beat();
  }

  /** Hashed, so that no name a caller chooses can equal another; braces keep a holder's keys in one cluster slot. */
  keyOf(holder: string): string {
    return `${this.#prefix}limits:{${hash('sha256', holder, 'base64url')}}`;
  }

  /** Resolves to undefined if there is no answer; a grant that arrives too late is returned to Redis. */
  async claim(claim: StoreClaim): Promise<StoreAnswer | undefined> {
    if (!this.isUp) return undefined;
    const place = claim.limits.concurrent === undefined ? '' : `${this.#name}:${this.#nextPlace++}`;
    const onLate = (numbers: readonly number[]): void => this.#giveBackLate(claim, place, numbers);
    const reply = await this.#run(CLAIM, keysOf(claim.key), claimArguments(claim, place), onLate);
    if (!reply.ok) return undefined;
    const answer = answerOf(claim, place, reply.numbers);
    if (answer.kind === 'grant' && place !== '') this.#hold(claim.key, place);
    return answer;
  }

  /** Releases a place, if it is held. */
  leave(key: string, place: string): void {
    const held = this.#places.get(key);
    if (!held?.delete(place)) return;
    if (held.size === 0) this.#places.delete(key);
    if (this.isUp) this.#giveBack(key, {}, { place });
    else if (this.#unreturned.length < MAX_UNRETURNED) this.#unreturned.push([key, place]);
  }

  /** Returns granted bytes that did not flow; < 0 is a debt. While Redis is unavailable they stay charged. */
  giveBackBytes(key: string, limits: Quotas, bytes: number): void {
    if (this.isUp) this.#giveBack(key, limits, { bytes });
  }

  /** Releases the places that are still held, and removes this gateway from the count. */
  close(): void {
    if (this.#closed) return;
    const wasUp = this.isUp;
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#breaker.shutDown();
    const goodbyes: Promise<unknown>[] = [];
    if (wasUp) {
      for (const [key, held] of this.#places)
        for (const place of held)
          goodbyes.push(this.#connection.run(GIVE_BACK, keysOf(key), givingBack({}, { place })));
      goodbyes.push(this.#connection.run(HEARTBEAT, [this.#gatewaysKey], [0, this.#name]));
    }
    this.#places.clear();
    void Promise.all(goodbyes).then(() => this.#connection.close());
  }

  get #gatewaysKey(): string {
    return `${this.#prefix}gateways`;
  }

  #hold(key: string, place: string): void {
    const held = this.#places.get(key);
    if (held === undefined) this.#places.set(key, new Set([place]));
    else held.add(place);
  }

  #giveBackLate(claim: StoreClaim, place: string, numbers: readonly number[]): void {
    const answer = answerOf(claim, place, numbers);
    if (answer.kind === 'grant')
      this.#giveBack(claim.key, claim.limits, { place, bytes: answer.bytes, requests: 1 });
  }

  #giveBack(key: string, limits: Quotas, what: GivenBack): void {
    void this.#run(GIVE_BACK, keysOf(key), givingBack(limits, what));
  }

  /** Redis is back: sends the releases that waited, and renews what is still held. */
  #catchUp(): void {
    for (const [key, place] of this.#unreturned.splice(0)) this.#giveBack(key, {}, { place });
    this.#renewAll();
  }

  #renewAll(): void {
    for (const [key, held] of this.#places) void this.#run(RENEW, [placesKey(key)], [LEASE_MS * US, ...held]);
  }

  /** Announces this gateway and reads how many there are. */
  async #beat(): Promise<StoreReply> {
    const reply = await this.#run(HEARTBEAT, [this.#gatewaysKey], [PRESENCE_MS * US, this.#name]);
    if (reply.ok) this.#gateways = Math.max(1, reply.numbers[0] ?? 1);
    return reply;
  }

  async #run(
    script: LimitScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    onLate?: (numbers: readonly number[]) => void,
  ): Promise<StoreReply> {
    const reply = await this.#connection.run(script, keys, args, onLate);
    this.#lastReason = reply.ok ? '' : reply.reason;
    if (!reply.ok) this.#failures[reply.failure] += 1;
    this.#breaker.counted(reply.ok);
    return reply;
  }

  /** A failed trial is not a change. */
  #changed(isUp: boolean): void {
    if (this.#closed || isUp === this.#toldUp) return;
    this.#toldUp = isUp;
    this.#onChange(isUp, this.#lastReason);
  }
}

interface GivenBack {
  readonly requests?: number;
  readonly place?: string;
  readonly bytes?: number;
}

const placesKey = (key: string): string => `${key}:places`;
const keysOf = (key: string): readonly string[] => [`${key}:requests`, placesKey(key), `${key}:bytes`];

function claimArguments(
  { limits, neededBytes, wantedBytes }: StoreClaim,
  place: string,
): readonly (string | number)[] {
  const { requests, concurrent, bytes } = limits;
  return [
    ...[requests?.count ?? 0, (requests?.perMs ?? 0) * US],
    ...[concurrent ?? 0, LEASE_MS * US, place],
    ...[bytes?.count ?? 0, (bytes?.perMs ?? 0) * US, neededBytes, wantedBytes],
  ];
}

function givingBack(
  { requests, bytes }: Quotas,
  { requests: count = 0, place = '', bytes: amount = 0 }: GivenBack,
): readonly (string | number)[] {
  return [
    ...[requests?.count ?? 0, (requests?.perMs ?? 0) * US, requests === undefined ? 0 : count],
    place,
    ...[bytes?.count ?? 0, (bytes?.perMs ?? 0) * US, bytes === undefined ? 0 : amount],
  ];
}

function answerOf({ limits }: StoreClaim, place: string, numbers: readonly number[]): StoreAnswer {
  const [refused = 0, waitMs = 0, requests = 0, concurrent = 0, bytes = 0, granted = 0] = numbers;
  const limit = LIMITS[refused];
  if (limit !== undefined) return { kind: 'refusal', limit, waitMs, left: limit === 'bytes' ? bytes : 0 };
  const left = {
    ...(limits.requests !== undefined && { requests }),
    ...(limits.concurrent !== undefined && { concurrent }),
    ...(limits.bytes !== undefined && { bytes }),
  };
  return { kind: 'grant', left, place, bytes: granted };
}
