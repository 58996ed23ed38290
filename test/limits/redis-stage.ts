/** A real Redis for one test, stores that share it as gateways do, and a client that inspects its keys. */
import { Redis } from 'ioredis';
import type { Test } from 'tap';
import { LimitStore, type StoreAnswer, type StoreClaim } from '../../gateway/limits/limit-store.ts';
import type { Quotas } from '../../gateway/policy/policy.ts';
import { type RunningServer, startRedis } from '../lists/servers.ts';

export const PREFIX = 'test:';
export const DAY_MS = 86_400_000;
const PATIENCE_MS = 10_000;

export interface RedisStage {
  readonly redis: RunningServer;
  readonly client: Redis;
  /** Opens one more gateway. Changes are reported as `up` or `down: reason`. */
  store(options?: StoreOptions): Promise<LimitStore>;
}

interface StoreOptions {
  readonly url?: string;
  readonly changes?: string[];
  /** Waits for an answer however busy the machine is. */
  readonly patient?: boolean;
}

export async function setRedisStage(t: Test, options: readonly string[] = []): Promise<RedisStage> {
  const redis = await startRedis(t, options);
  const client = new Redis(redis.port, '127.0.0.1', { maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  t.teardown(() => client.disconnect());
  const url = `redis://127.0.0.1:${redis.port}`;
  return { redis, client, store: (options) => openStore(t, { url, ...options }) };
}

async function openStore(
  t: Test,
  { url = '', changes = [], patient = false }: StoreOptions,
): Promise<LimitStore> {
  const state = { redis: url, prefix: PREFIX, onFailure: 'local' } as const;
  const onChange = (isUp: boolean, reason: string): void => {
    changes.push(isUp ? 'up' : `down: ${reason}`);
  };
  const store = new LimitStore(state, onChange, patient ? { answerMs: PATIENCE_MS } : {});
  t.teardown(() => store.close());
  await store.open();
  return store;
}

/** A claim by the holder `h`, unless another is named. */
export function claimOf(
  store: LimitStore,
  limits: Quotas,
  more: Partial<StoreClaim> & { readonly holder?: string } = {},
): Promise<StoreAnswer | undefined> {
  const { holder = 'h', ...rest } = more;
  return store.claim({ key: store.keyOf(holder), limits, neededBytes: 0, wantedBytes: 0, ...rest });
}

export function granted(answer: StoreAnswer | undefined): Extract<StoreAnswer, { kind: 'grant' }> {
  if (answer?.kind !== 'grant') throw new Error(`not granted: ${JSON.stringify(answer)}`);
  return answer;
}
