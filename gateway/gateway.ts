/** The composition root: builds every part, wires them, starts, reloads and drains the whole. */

import { randomBytes } from 'node:crypto';
import { CertificateKeeper } from './certificates/certificate-keeper.ts';
import { Deadlines } from './core/deadlines.ts';
import { formatFault, type PolicyFault } from './core/fault.ts';
import { CallerConnection } from './edge/caller-connection.ts';
import type { CallerContext } from './edge/caller-context.ts';
import { drainConnections } from './edge/drain.ts';
import { HandshakeSlots } from './edge/handshake-slots.ts';
import { createListener, type Listener } from './edge/listener.ts';
import { ownReadsWork } from './edge/own-reads.ts';
import { RecordMemory } from './edge/record-memory.ts';
import { Room } from './edge/room.ts';
import { ServerNames } from './edge/server-names.ts';
import { beginExchange, type ExchangeContext } from './exchange.ts';
import { Llhttp } from './http1/llhttp.ts';
import { LocalLimits } from './limits/local-limits.ts';
import { type Admin, createAdmin } from './observe/admin.ts';
import type { Log } from './observe/log.ts';
import { createMetrics, type Metrics, type MetricsText } from './observe/metrics.ts';
import { describeLists, describePolicy } from './policy/describe.ts';
import { LivePolicy, type LoadedPolicy, type ReloadOutcome } from './policy/live.ts';
import { loadPolicy } from './policy/load.ts';
import { type HostPort, type Policy, upstreamsOf } from './policy/policy.ts';
import type { PolicySources } from './policy/sources.ts';
import { type Lookup, systemLookup } from './relay/node-resolver.ts';
import { NodeTlsContexts } from './relay/node-tls.ts';
import { UpstreamPools } from './relay/upstream-pools.ts';
import { followSources } from './stream/follow-sources.ts';
import { type Logs, openLogs } from './stream/logs.ts';
import { RunningStreams } from './stream/running-streams.ts';
import { Traces } from './stream/trace.ts';

export interface GatewayOptions {
  readonly policyFolder: string;
  readonly version: string;
  readonly log: Log;
  /** Callers are read into memory that is there already, where this Node can; unless told otherwise they are. */
  readonly readsInPlace?: boolean;
  /** Finds the addresses of names of nodes; the system's own way unless told otherwise. */
  readonly lookup?: Lookup;
}

/** A running gateway, or the faults that kept it from starting: at the start any fault does. */
export interface StartOutcome {
  readonly gateway?: Gateway;
  readonly faults: readonly PolicyFault[];
}

/** How often time limits are looked at; they are as exact as this. */
const SWEEP_MS = 50;
const TICKET_SECRET_BYTES = 32;

/** Reads the policy and opens the listeners. Rejects when an address cannot be had. */
export async function startGateway(options: GatewayOptions): Promise<StartOutcome> {
  const metrics = createMetrics({ version: options.version });
  const memory = options.readsInPlace !== false && (await ownReadsWork()) ? new RecordMemory() : undefined;
  if (memory === undefined) options.log.warn({}, 'callers are read into a new buffer each time');
  const streams = new RunningStreams();
  const sources = followSources(options.log, metrics, streams);
  const { policy, faults, ...read } = await loadPolicy(options.policyFolder, Date.now(), { sources });
  if (policy === undefined || faults.length > 0) {
    sources.close();
    streams.close();
    return { faults };
  }
  const logs = await openLogs(policy.gateway, { ...options, metrics });
  const lookup = options.lookup ?? systemLookup;
  const first = { metrics, streams, sources, memory, lookup, logs };
  const gateway = new Gateway(options, { ...read, policy }, first);
  await gateway.start();
  return { gateway, faults };
}

/** What is there before the policy is. */
interface FirstParts {
  readonly metrics: Metrics;
  readonly streams: RunningStreams;
  readonly sources: PolicySources;
  /** Where callers are read to, if they can be. */
  readonly memory: RecordMemory | undefined;
  readonly lookup: Lookup;
  readonly logs: Logs;
}

/** Every part of one gateway. It ends by `drain` or, at once, by `stopNow`. */
export class Gateway {
  readonly #log: Log;
  readonly #live: LivePolicy;
  readonly #sources: PolicySources;
  readonly #streams: RunningStreams;
  readonly #memory: RecordMemory | undefined;
  readonly #metrics: Metrics;
  readonly #certificates: CertificateKeeper;
  readonly #logs: Logs;
  readonly #admin: Admin;
  readonly #deadlines = new Deadlines(performance.now());
  readonly #sweep: NodeJS.Timeout;
  readonly #pools: UpstreamPools;
  readonly #llhttp = new Llhttp();
  readonly #listeners: ReadonlyMap<string, Listener>;
  readonly #callers = new Set<CallerConnection>();
  readonly #room: Room;
  readonly #exchanges: ExchangeContext;
  readonly #addresses = new Map<string, HostPort>();
  #adminAddress: HostPort | undefined;
  #draining = false;
  #stopped = false;

  constructor({ policyFolder, log }: GatewayOptions, loaded: LoadedPolicy, first: FirstParts) {
    const { policy } = loaded;
    this.#log = log;
    this.#sources = first.sources;
    this.#streams = first.streams;
    this.#memory = first.memory;
    this.#metrics = first.metrics;
    this.#logs = first.logs;
    this.#live = new LivePolicy(policyFolder, loaded, first.sources, Date.now, (outcome) =>
      this.#onReload(outcome),
    );
    this.#certificates = new CertificateKeeper({
      policy: () => this.#live.current,
      log,
      onChange: () => this.#streams.examineSoon(),
    });
    this.#pools = new UpstreamPools({
      llhttp: this.#llhttp,
      deadlines: this.#deadlines,
      tls: new NodeTlsContexts(this.#certificates.nodes),
      lookup: first.lookup,
      onChange: (change) => log.warn(change, 'a node has changed'),
    });
    this.#pools.follow(upstreamsOf(policy));
    this.#exchanges = {
      policy: () => this.#live.current,
      pools: this.#pools,
      deadlines: this.#deadlines,
      streams: this.#streams,
      traces: new Traces(),
      limits: new LocalLimits(),
      metrics: this.#metrics,
      ...this.#logs,
      draining: () => this.#draining,
    };
    this.#room = new Room({
      holders: this.#callers,
      limitBytes: () => this.#live.current.gateway.limits.bufferedBytes,
      metrics: this.#metrics,
    });
    this.#listeners = this.#createListeners(policy);
    this.#admin = createAdmin({
      address: policy.gateway.admin,
      metricsText: (accept) => this.#metricsText(accept),
      certificates: () => this.#certificates.summaries(),
      policyStatus: () => this.#status(),
      nodes: () => this.#pools.statuses,
      setDrained: (upstream, node, drained) => this.#pools.setDrained(upstream, node, drained),
      ready: () => !this.#draining && this.#sources.tenants.isReady,
      reload: async () => ({ successful: (await this.reload()).successful, ...this.#status() }),
    });
    this.#sweep = setInterval(() => this.#deadlines.sweep(performance.now()), SWEEP_MS);
    this.#tell(this.#live.outcome);
  }

  /** Where each listener is bound, by its name. */
  get addresses(): ReadonlyMap<string, HostPort> {
    return this.#addresses;
  }

  get adminAddress(): HostPort | undefined {
    return this.#adminAddress;
  }

  /** Opens the listeners. Rejects, and nothing runs, when an address cannot be had. */
  async start(): Promise<void> {
    await this.#certificates.follow();
    try {
      for (const [name, listener] of this.#listeners) this.#addresses.set(name, await listener.listen());
      this.#adminAddress = await this.#admin.listen();
    } catch (error) {
      this.stopNow();
      throw error;
    }
    const listeners = Object.fromEntries(
      [...this.#addresses].map(([name, at]) => [name, `${at.host}:${at.port}`]),
    );
    const admin = `${this.#adminAddress.host}:${this.#adminAddress.port}`;
    this.#log.info({ listeners, admin, generation: this.#live.current.generation }, 'the gateway is up');
    this.#live.follow();
  }

  /** Reads the policy and changed certificates afresh; requests in flight keep the policy they began with. */
  async reload(): Promise<ReloadOutcome> {
    const outcome = await this.#live.reload();
    await this.#certificates.refresh();
    return outcome;
  }

  /** Takes no new connection, ends idle ones, waits for running requests up to the drain time, then stops. */
  async drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const { drainMs, lingerMs } = this.#live.current.gateway.timeouts;
    this.#log.info({ connections: this.#callers.size, drainMs }, 'draining');
    await drainConnections({
      listeners: [...this.#listeners.values()],
      callers: this.#callers,
      drainMs,
      lingerMs,
      stopped: () => this.#stopped,
      onCut: (connections) =>
        this.#log.warn({ connections }, 'connections are cut at the end of the drain time'),
    });
    this.stopNow();
    await this.#logs.close();
    this.#log.info({}, 'the gateway has stopped');
  }

  /** Breaks off everything. */
  stopNow(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#draining = true;
    clearInterval(this.#sweep);
    this.#room.close();
    for (const listener of this.#listeners.values()) {
      void listener.stopAccepting();
      listener.destroyAll();
    }
    this.#pools.close();
    this.#certificates.close();
    this.#sources.close();
    this.#streams.close();
    void this.#admin.close();
    void this.#logs.close();
  }

  #createListeners(policy: Policy): ReadonlyMap<string, Listener> {
    const serverNames = new ServerNames(this.#certificates.servers, randomBytes(TICKET_SECRET_BYTES));
    const slots = new HandshakeSlots();
    const listeners = policy.gateway.listeners.map(({ name }) => {
      const listener = createListener({
        name,
        policy: () => this.#live.current,
        serverNames,
        slots,
        deadlines: this.#deadlines,
        metrics: this.#metrics,
        onConnection: (socket, transport, standing) => {
          this.#callers.add(new CallerConnection(socket, transport, standing, this.#callerContext()));
        },
        onFault: (fault) => this.#log.warn(fault, 'a connection was not accepted'),
      });
      return [name, listener] as const;
    });
    return new Map(listeners);
  }

  #callerContext(): CallerContext {
    const { limits, timeouts } = this.#live.current.gateway;
    return {
      llhttp: this.#llhttp,
      deadlines: this.#deadlines,
      ...(this.#memory !== undefined && { memory: this.#memory }),
      limits,
      timeouts,
      handle: (caller, head) => beginExchange(this.#exchanges, caller, head),
      onClosed: (caller) => void this.#callers.delete(caller),
    };
  }

  #onReload(outcome: ReloadOutcome): void {
    const { policy, faults } = outcome;
    this.#tell(outcome);
    void this.#certificates.follow();
    this.#streams.examineSoon();
    this.#pools.follow(upstreamsOf(policy));
    this.#log.info({ generation: policy.generation, faults: faults.length }, 'the policy was read again');
  }

  #tell({ successful, policy: { generation, loadedAtMs }, news }: ReloadOutcome): void {
    for (const fault of news) this.#log.error({ fault: formatFault(fault) }, 'the policy has a fault');
    this.#metrics.policyRead(generation, successful, loadedAtMs / 1000);
  }

  #metricsText(accept?: string): Promise<MetricsText> {
    this.#certificates.observe(this.#metrics);
    this.#metrics.nodes(this.#pools.gauges);
    this.#metrics.addressLists([...this.#live.current.tenants.values()].flatMap(describeLists));
    return this.#metrics.text(accept);
  }

  #status(): object {
    const faults = [...this.#live.faults, ...this.#sources.faults, ...this.#certificates.faults];
    return describePolicy(this.#live.current, this.#sources.tenants.state, faults);
  }
}
