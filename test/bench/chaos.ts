/** Redis and etcd are killed, paused, restarted and filled with garbage under load: failures, latency and recovery. */

import { Redis } from 'ioredis';
import { type ChaosYard, ETCD_LIST, openChaosYard, REDIS_LIST } from './chaos-yard.ts';
import { Caller } from './load.ts';
import { keepAsking, nothingSeen, percentile, type Seen, sleep } from './waits.ts';

export interface ChaosPhase {
  readonly name: string;
  readonly requests: number;
  /** Failed requests of callers that are on a list. */
  readonly failed: number;
  /** Requests of a stranger that were not answered 403. */
  readonly letIn: number;
  /** Latencies during the two seconds before the fault, and during the fault and the recovery. */
  readonly before: Waits;
  readonly during: Waits;
  /** From the end of the fault until no faults are reported and Redis counts; absent for the phase without a fault. */
  readonly wellMs?: number;
}

export interface Waits {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly slowestMs: number;
}

/** Addresses on the etcd list, on the Redis list, on none, and temporarily on either. */
const [IN_ETCD, IN_REDIS, STRANGER, NEWCOMER] = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'];
const CALLERS_EACH = 4;
/** Pause of a caller between two requests. */
const PAUSE_MS = 2;
const BEFORE_MS = 2000;
const PHASE_MS = 4000;
const GARBAGE_MS = 200;
const MAX_WELL_MS = 30_000;
const GARBAGE = ['999.1.1.1', 'not an address', '10.0.0.0/99', '\u0000\u00ff', '::/0/0', 'x'.repeat(5000)];

interface Fault {
  readonly name: string;
  begin(chaos: Chaos): Promise<void> | void;
  end(chaos: Chaos): Promise<void> | void;
}

const peace = (name: string): Fault => ({ name, begin: () => undefined, end: () => undefined });

const FAULTS: readonly Fault[] = [
  peace('nothing (noise)'),
  ...(['redis', 'etcd'] as const).flatMap((server): readonly Fault[] => [
    {
      name: `${server} killed`,
      begin: ({ yard }) => yard[server].kill(),
      end: ({ yard }) => yard[server].start(),
    },
    {
      name: `${server} stopped`,
      begin: ({ yard }) => yard[server].pause(),
      end: ({ yard }) => yard[server].resume(),
    },
  ]),
  {
    name: 'redis full of garbage',
    begin: (chaos) => chaos.soil('redis'),
    end: (chaos) => chaos.clean('redis'),
  },
  { name: 'etcd full of garbage', begin: (chaos) => chaos.soil('etcd'), end: (chaos) => chaos.clean('etcd') },
  {
    name: 'both killed',
    begin: ({ yard }) => Promise.all([yard.redis.kill(), yard.etcd.kill()]).then(() => undefined),
    end: ({ yard }) => Promise.all([yard.redis.start(), yard.etcd.start()]).then(() => undefined),
  },
];

/** Runs one fault after the other and reports each. Rejects if the gateway does not recover within half a minute. */
export async function benchChaos(workers: number, onPhase: (phase: ChaosPhase) => void): Promise<void> {
  const yard = await openChaosYard(workers, fill);
  const chaos = new Chaos(yard);
  try {
    await chaos.untilWell();
    for (const fault of FAULTS) onPhase(await chaos.suffer(fault));
  } finally {
    await chaos.end();
    await yard.close();
  }
}

function waitsOf({ tookMs }: Seen): Waits {
  return {
    p50Ms: percentile(tookMs, 0.5),
    p99Ms: percentile(tookMs, 0.99),
    slowestMs: percentile(tookMs, 1),
  };
}

async function fill({ etcd, redis }: Pick<ChaosYard, 'etcd' | 'redis'>): Promise<void> {
  const client = new Redis(redis.port, '127.0.0.1');
  await client.sadd(REDIS_LIST, IN_REDIS);
  client.disconnect();
  for (let tries = 0; !(await change(etcd.port, 'put', IN_ETCD)); tries++) {
    if (tries === 100) throw new Error('etcd accepts no entry');
    await sleep(50);
  }
}

/** Resolves to whether etcd made the change. */
async function change(port: number, what: 'put' | 'deleterange', entry: string): Promise<boolean> {
  const key = Buffer.from(ETCD_LIST + entry).toString('base64');
  const body = JSON.stringify(what === 'put' ? { key, value: '' } : { key });
  const signal = AbortSignal.timeout(2000);
  const url = `http://127.0.0.1:${port}/v3/kv/${what}`;
  const response = await fetch(url, { method: 'POST', body, signal }).catch(() => undefined);
  return response?.ok === true;
}

class Chaos {
  readonly yard: ChaosYard;
  readonly #redis: Redis;
  readonly #load: readonly Promise<void>[];
  #seen: Seen = nothingSeen();
  #letIn = 0;
  #isOver = false;
  #soiling: NodeJS.Timeout | undefined;

  constructor(yard: ChaosYard) {
    this.yard = yard;
    this.#redis = new Redis(yard.redis.port, '127.0.0.1', { maxRetriesPerRequest: null });
    this.#redis.on('error', () => undefined);
    const asking = [IN_ETCD, IN_REDIS].flatMap((from = '') =>
      Array.from({ length: CALLERS_EACH }, () =>
        keepAsking(
          { connect: () => yard.connect(from), patchgate: yard.patchgate, token: '' },
          () => this.#seen,
          () => !this.#isOver,
          PAUSE_MS,
        ),
      ),
    );
    this.#load = [...asking, this.#tryToEnter()];
  }

  async suffer({ name, begin, end }: Fault): Promise<ChaosPhase> {
    const before = nothingSeen();
    this.#seen = before;
    await sleep(BEFORE_MS);
    const during = nothingSeen();
    this.#seen = during;
    this.#letIn = 0;
    await begin(this);
    await sleep(PHASE_MS);
    await end(this);
    const wellMs = await this.untilWell();
    return {
      name,
      requests: before.tookMs.length + during.tookMs.length,
      failed: before.failed + during.failed,
      letIn: this.#letIn,
      before: waitsOf(before),
      during: waitsOf(during),
      ...(!name.startsWith('nothing') && { wellMs }),
    };
  }

  /**
   * Waits until no faults are reported and Redis decides limits, and then until changes of both lists take effect.
   * Resolves to the milliseconds of the first part.
   */
  async untilWell(): Promise<number> {
    const fromMs = performance.now();
    const until = async (isSo: () => Promise<boolean>, what: string): Promise<void> => {
      while (!(await isSo().catch(() => false))) {
        if (performance.now() - fromMs > MAX_WELL_MS) throw new Error(`not recovered: ${what}`);
        await sleep(20);
      }
    };
    const { etcd, redis } = this.yard;
    await until(() => this.#isCalm(), `faults are reported, or Redis does not count: ${this.yard.admin}`);
    const calmMs = performance.now() - fromMs;
    await until(() => change(etcd.port, 'put', NEWCOMER ?? ''), 'etcd accepts no entry');
    await until(async () => (await this.#statusOf(NEWCOMER)) === 200, 'etcd is not followed');
    await until(() => change(etcd.port, 'deleterange', NEWCOMER ?? ''), 'etcd deletes no entry');
    await until(async () => (await this.#statusOf(NEWCOMER)) === 403, 'etcd is not followed');
    await this.#redis.sadd(REDIS_LIST, NEWCOMER ?? '');
    await until(async () => (await this.#statusOf(NEWCOMER)) === 200, `redis ${redis.port} is not followed`);
    await this.#redis.srem(REDIS_LIST, NEWCOMER ?? '');
    await until(async () => (await this.#statusOf(NEWCOMER)) === 403, `redis ${redis.port} is not followed`);
    return calmMs;
  }

  async #isCalm(): Promise<boolean> {
    const [policy, metrics] = await Promise.all(
      ['policy', 'metrics'].map(async (page) => (await fetch(`${this.yard.admin}/${page}`)).text()),
    );
    const { faults } = JSON.parse(policy ?? '') as { faults: readonly string[] };
    return faults.length === 0 && /^patchgate_limit_store_up\{.*\} 1$/m.test(metrics ?? '');
  }

  async #statusOf(from = ''): Promise<number> {
    const caller = new Caller(await this.yard.connect(from), undefined);
    const { status } = await caller.get('/v1/models/bench');
    caller.close();
    return status;
  }

  async #tryToEnter(): Promise<void> {
    while (!this.#isOver) {
      if ((await this.#statusOf(STRANGER).catch(() => 0)) !== 403) this.#letIn += 1;
      await sleep(20);
    }
  }

  /** Writes garbage repeatedly, since the gateway overwrites some of it. */
  async soil(server: 'redis' | 'etcd'): Promise<void> {
    const once = server === 'redis' ? () => this.#soilRedis() : () => this.#soilEtcd();
    await once();
    this.#soiling = setInterval(() => void once(), GARBAGE_MS);
  }

  /** Overwrites every key of the gateway; the list becomes a set of garbage, a hash and a string in turns. */
  async #soilRedis(): Promise<void> {
    const keys = await this.#redis.keys('patchgate:*');
    for (const [index, key] of keys.entries())
      await this.#redis.set(key, GARBAGE[index % GARBAGE.length] ?? '');
    const turn = Math.floor(performance.now() / GARBAGE_MS) % 3;
    // In one transaction: a missing key would be an empty list, which admits nobody.
    const change = this.#redis.multi().del(REDIS_LIST);
    if (turn === 0) change.sadd(REDIS_LIST, ...GARBAGE);
    else if (turn === 1) change.hset(REDIS_LIST, 'not', 'a list');
    else change.set(REDIS_LIST, GARBAGE.join('\n'));
    await change.exec();
  }

  async #soilEtcd(): Promise<void> {
    for (const entry of GARBAGE) await change(this.yard.etcd.port, 'put', entry);
  }

  async clean(server: 'redis' | 'etcd'): Promise<void> {
    clearInterval(this.#soiling);
    await sleep(GARBAGE_MS);
    if (server === 'etcd') {
      for (const entry of GARBAGE) await change(this.yard.etcd.port, 'deleterange', entry);
      return;
    }
    await this.#redis
      .multi()
      .del(REDIS_LIST)
      .sadd(REDIS_LIST, IN_REDIS ?? '')
      .exec();
  }

  async end(): Promise<void> {
    this.#isOver = true;
    clearInterval(this.#soiling);
    await Promise.all(this.#load);
    this.#redis.disconnect();
  }
}
