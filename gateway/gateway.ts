/** The composition root: builds and wires the two planes; starts, reloads and drains the gateway. */

import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { ControlPlane, type DataPlanes } from './control-plane.ts';
import type { PolicyFault } from './core/fault.ts';
import { DataPlane } from './data-plane.ts';
import { createRecordMemory } from './edge/record-memory.ts';
import { LiveLimits } from './limits/live-limits.ts';
import type { Log } from './observe/log.ts';
import { createMetrics, type Metrics } from './observe/metrics.ts';
import { logsOf, type OpenAudit, openAccessLog, openAudit } from './open-logs.ts';
import { OwnPlane } from './own-plane.ts';
import type { HostPort } from './policy/gateway-settings.ts';
import type { ReloadOutcome } from './policy/live.ts';
import { upstreamsOf } from './policy/policy.ts';
import { followPolicy, type PolicyFollower } from './policy-follower.ts';
import type { Lookup } from './relay/node-resolver.ts';
import { Fleet } from './workers/fleet.ts';
import { forkWorker } from './workers/fork.ts';

export interface GatewayOptions {
  readonly policyFolder: string;
  readonly version: string;
  readonly log: Log;
  /** Read callers' bytes into preallocated memory, if this Node can; true by default. */
  readonly readsInPlace?: boolean;
  /** Resolves the host names of nodes in a gateway without workers; the system's resolver by default. */
  readonly lookup?: Lookup;
  /** Called when everything is read and no caller is served yet, to free the memory that the start used. */
  readonly tidy?: () => void;
}

/** A running gateway, or the faults that kept it from starting, which any fault does. */
export interface StartOutcome {
  readonly gateway?: Gateway;
  readonly faults: readonly PolicyFault[];
}

const TICKET_SECRET_BYTES = 32;

/** Reads the policy and opens the listeners. Rejects, with nothing running, if an address or a log cannot be opened. */
export async function startGateway(options: GatewayOptions): Promise<StartOutcome> {
  const { policyFolder, version, log } = options;
  const metrics = createMetrics({ version });
  const { follower, faults } = await followPolicy({ policyFolder, log, metrics });
  if (follower === undefined) return { faults };
  try {
    const gateway = await buildGateway(options, follower, metrics);
    await gateway.start(options.tidy);
    return { gateway, faults };
  } catch (error) {
    follower.close();
    throw error;
  }
}

async function buildGateway(
  options: GatewayOptions,
  follower: PolicyFollower,
  metrics: Metrics,
): Promise<Gateway> {
  const { version, log } = options;
  const limits = new LiveLimits(log, follower.findAccess);
  const settings = follower.policy().gateway;
  const audit = settings.audit && (await openAudit(settings.audit, { log, metrics, version }));
  const ticketSecret = randomBytes(TICKET_SECRET_BYTES);
  const shared = { follower, metrics, limits, audit, ticketSecret };
  const { workers } = settings;
  const processes = workers === 'auto' ? availableParallelism() : workers;
  let fail = (_error: Error): void => undefined;
  const failed = new Promise<Error>((resolve) => {
    fail = resolve;
  });
  try {
    const planes =
      processes === 1
        ? await ownPlane(options, shared)
        : fleet(options, shared, processes, (error) => fail(error));
    return new Gateway({ ...shared, planes, log, failed });
  } catch (error) {
    await audit?.close();
    throw error;
  }
}

/** What both planes need. */
interface SharedParts {
  readonly follower: PolicyFollower;
  readonly metrics: Metrics;
  readonly limits: LiveLimits;
  readonly audit: OpenAudit | undefined;
  readonly ticketSecret: Buffer;
}

async function ownPlane(
  { log, lookup, readsInPlace = true }: GatewayOptions,
  { follower: sources, metrics, limits, audit, ticketSecret }: SharedParts,
): Promise<DataPlanes> {
  sources.keepToItself();
  const plane = new DataPlane({
    sources,
    metrics,
    limits,
    logs: logsOf(openAccessLog(sources.policy().gateway.accessLog, log), audit),
    log,
    ticketSecret,
    memory: readsInPlace ? await createRecordMemory(log) : undefined,
    lookup,
  });
  return new OwnPlane(plane, metrics);
}

function fleet(
  { log, readsInPlace = true }: GatewayOptions,
  { follower, metrics, limits, audit, ticketSecret }: SharedParts,
  processes: number,
  onGivenUp: (error: Error) => void,
): DataPlanes {
  const { accessLog } = follower.policy().gateway;
  const workers = new Fleet({
    settings: {
      processes,
      readsInPlace,
      reusePort: true,
      audit: audit && { isRequired: audit.log.isRequired },
    },
    control: follower.handoff(ticketSecret, (fault) => log.error({ fault }, 'invalid message from a worker')),
    audit,
    fork: forkWorker,
    metrics,
    upstreams: () => upstreamsOf(follower.policy()),
    limits,
    accessLog: accessLog === '-' ? openAccessLog(accessLog, log) : undefined,
    log,
    drainMs: () => {
      const { drainMs, lingerMs } = follower.policy().gateway.timeouts;
      return drainMs + lingerMs;
    },
    onGivenUp,
  });
  follower.onChange((change) => {
    if (change === 'policy') workers.policyChanged();
  });
  return workers;
}

interface Parts extends SharedParts {
  readonly planes: DataPlanes;
  readonly log: Log;
  /** Resolves if the data planes cannot go on. */
  readonly failed: Promise<Error>;
}

/** Every part of one gateway. It runs until `drain` or, at once, `stopNow`. */
export class Gateway {
  /** Resolves if the gateway cannot go on, after it was stopped. */
  readonly failed: Promise<Error>;
  readonly #log: Log;
  readonly #follower: PolicyFollower;
  readonly #planes: DataPlanes;
  readonly #control: ControlPlane;
  #addresses: ReadonlyMap<string, HostPort> = new Map();
  #adminAddress: HostPort | undefined;
  #draining = false;
  #stopped = false;

  constructor(parts: Parts) {
    this.#log = parts.log;
    this.#follower = parts.follower;
    this.#planes = parts.planes;
    this.#control = new ControlPlane(parts);
    this.failed = parts.failed.then((error) => {
      this.stopNow();
      return error;
    });
  }

  /** The bound address of each listener, by name. */
  get addresses(): ReadonlyMap<string, HostPort> {
    return this.#addresses;
  }

  get adminAddress(): HostPort | undefined {
    return this.#adminAddress;
  }

  /** Opens the listeners. Rejects, with nothing running, if an address cannot be bound. */
  async start(tidy?: () => void): Promise<void> {
    await Promise.all([this.#follower.readCertificates(), this.#control.followLimits()]);
    tidy?.();
    try {
      this.#addresses = await this.#planes.listen();
      // The workers may have failed for good meanwhile.
      if (this.#stopped) throw new Error('the gateway was stopped during its start');
      this.#adminAddress = await this.#control.listen();
    } catch (error) {
      this.stopNow();
      throw error;
    }
    const listeners = Object.fromEntries(
      [...this.#addresses].map(([name, at]) => [name, `${at.host}:${at.port}`]),
    );
    const admin = `${this.#adminAddress.host}:${this.#adminAddress.port}`;
    const { generation } = this.#follower.policy();
    this.#log.info({ listeners, admin, generation }, 'the gateway is up');
    this.#follower.follow();
  }

  /** Reloads the policy and changed certificates; requests in flight keep the policy they began with. */
  reload(): Promise<ReloadOutcome> {
    return this.#control.reload();
  }

  /** Accepts no new connections, closes idle ones, waits for running requests up to the drain time, then stops. */
  async drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    await Promise.all([this.#planes.drain(), this.#control.yieldAdmin()]);
    this.stopNow();
    this.#log.info({}, 'the gateway has stopped');
  }

  /** Closes everything at once. */
  stopNow(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#draining = true;
    this.#planes.stopNow();
    this.#control.close();
  }
}
