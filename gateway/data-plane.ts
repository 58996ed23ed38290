/** The data plane: accepts callers, decides and streams, by the policy and certificates it is given. */

import type { Identities } from './certificates/identity-store.ts';
import type { NodeIdentity } from './certificates/node-identity.ts';
import type { ServerIdentity } from './certificates/server-identity.ts';
import { Deadlines } from './core/deadlines.ts';
import { CallerConnection } from './edge/caller-connection.ts';
import type { CallerContext } from './edge/caller-context.ts';
import { drainConnections } from './edge/drain.ts';
import { HandshakeSlots } from './edge/handshake-slots.ts';
import { createListener, type Listener } from './edge/listener.ts';
import { ownLimits } from './edge/own-limits.ts';
import type { RecordMemory } from './edge/record-memory.ts';
import { Room } from './edge/room.ts';
import { ServerNames } from './edge/server-names.ts';
import { beginExchange, type ExchangeContext } from './exchange.ts';
import { Llhttp } from './http1/llhttp.ts';
import type { LimitsBackend } from './limits/limits-backend.ts';
import type { NodeState } from './observe/gauge-states.ts';
import type { Log } from './observe/log.ts';
import { LoopDelay } from './observe/loop-delay.ts';
import type { Metrics } from './observe/metrics.ts';
import type { Logs } from './open-logs.ts';
import type { GatewayLimits, GatewaySettings, HostPort } from './policy/gateway-settings.ts';
import { type Policy, upstreamsOf } from './policy/policy.ts';
import { type Lookup, systemLookup } from './relay/node-resolver.ts';
import { NodeTlsContexts } from './relay/node-tls.ts';
import { UpstreamPools, type UpstreamStatus } from './relay/upstream-pools.ts';
import { RunningStreams } from './stream/running-streams.ts';
import { Traces } from './stream/trace.ts';

/** `policy`: the policy was reloaded; `facts`: something else changed that running streams were admitted by. */
export type SourceChange = 'policy' | 'facts';

/** What a data plane decides by. */
export interface DataPlaneSources {
  /** The policy in force now. */
  readonly policy: () => Policy;
  /** The certificates that server names present to callers. */
  readonly servers: Identities<ServerIdentity>;
  /** The certificates that upstreams present to nodes. */
  readonly nodes: Identities<NodeIdentity>;
  /** Adds a listener, which is called after every change that is in force. */
  onChange(hear: (change: SourceChange) => void): void;
}

export interface DataPlaneOptions {
  readonly sources: DataPlaneSources;
  readonly metrics: Metrics;
  readonly limits: LimitsBackend;
  /** Closed by the data plane when it ends. */
  readonly logs: Logs;
  readonly log: Log;
  /** 32 random bytes, the same in all processes that resume each other's TLS sessions. */
  readonly ticketSecret: Buffer;
  /** Where callers' bytes are read to; absent if each read allocates a buffer. */
  readonly memory: RecordMemory | undefined;
  /** Processes that share the limits of the gateway; 1 by default. */
  readonly processes?: number;
  /** Resolves the host names of nodes; the system's resolver by default. */
  readonly lookup?: Lookup | undefined;
}

/** Addresses of listeners, by listener name. */
export type Addresses = ReadonlyMap<string, HostPort>;

export interface ListenersBinding {
  /** Replaces the policy's addresses. */
  readonly at?: Addresses;
  /** See `Binding`. */
  readonly reusePort?: boolean;
}

const NOWHERE: Addresses = new Map();
/** Bytes of an upload that are passed on together: more than libuv reads from a connection in one turn. */
const MAX_GATHERED_BYTES = 640 * 1024;
/** No stream gathers more than one part in so many of what may be held for all callers. */
const GATHER_PARTS = 16;
/** How often time limits are checked; this is also their precision. */
const SWEEP_MS = 50;
/** If sweeps are further apart, the process was stalled. */
const MAX_STEP_MS = 4 * SWEEP_MS;

/** Runs until `drain` or, at once, `stopNow`. */
export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #processes: number;
  /** This process's share of the limits. */
  readonly #limits: () => GatewayLimits;
  readonly #streams = new RunningStreams();
  readonly #deadlines = new Deadlines(performance.now(), MAX_STEP_MS);
  readonly #loopDelay: LoopDelay;
  readonly #sweep: NodeJS.Timeout;
  readonly #pools: UpstreamPools;
  readonly #llhttp = new Llhttp();
  readonly #listeners: ReadonlyMap<string, Listener>;
  readonly #callers = new Set<CallerConnection>();
  readonly #room: Room;
  readonly #exchanges: ExchangeContext;
  #lent: { readonly gateway: GatewaySettings; readonly context: CallerContext } | undefined;
  #draining = false;
  #stopped = false;
  #drained: Promise<void> | undefined;

  constructor(options: DataPlaneOptions) {
    const { sources, metrics, limits, logs, log, lookup = systemLookup, processes = 1 } = options;
    this.#options = options;
    this.#processes = processes;
    this.#limits = ownLimits(sources.policy, processes);
    this.#pools = new UpstreamPools({
      llhttp: this.#llhttp,
      deadlines: this.#deadlines,
      tls: new NodeTlsContexts(sources.nodes),
      lookup,
      processes,
      onChange: (change) => log.warn(change, 'node state changed'),
    });
    this.#follow();
    this.#exchanges = {
      policy: sources.policy,
      pools: this.#pools,
      deadlines: this.#deadlines,
      streams: this.#streams,
      traces: new Traces(),
      limits,
      metrics,
      accessLog: logs.accessLog,
      audit: logs.audit,
      draining: () => this.#draining,
    };
    this.#room = new Room({
      holders: this.#callers,
      limitBytes: () => this.#limits().bufferedBytes,
      metrics,
    });
    this.#listeners = this.#createListeners();
    this.#loopDelay = new LoopDelay(SWEEP_MS, performance.now());
    this.#sweep = setInterval(() => {
      const nowMs = performance.now();
      this.#loopDelay.turn(nowMs);
      this.#deadlines.sweep(nowMs);
    }, SWEEP_MS);
    sources.onChange((change) => this.#onChange(change));
  }

  /** The longest recent delay of this process's timers. */
  get loopDelaySeconds(): number {
    return this.#loopDelay.longestSeconds;
  }

  /** Opens the listeners. Resolves to the bound address of each, by name. Rejects if an address cannot be bound. */
  async listen({ at = NOWHERE, reusePort = true }: ListenersBinding = {}): Promise<Addresses> {
    const addresses = new Map<string, HostPort>();
    for (const [name, listener] of this.#listeners)
      addresses.set(name, await listener.listen({ address: at.get(name), reusePort }));
    return addresses;
  }

  /** Every upstream and its nodes. */
  get nodes(): readonly UpstreamStatus[] {
    return this.#pools.statuses;
  }

  /** The same nodes, as shown in metrics. */
  get nodeGauges(): readonly NodeState[] {
    return this.#pools.gauges;
  }

  /** A drained node gets no new requests. Returns false if there is no such node. */
  setDrained(upstream: string, node: string, drained: boolean): boolean {
    return this.#pools.setDrained(upstream, node, drained);
  }

  /** Accepts no new connections, closes idle ones, waits for running requests up to the drain time, then stops. */
  drain(): Promise<void> {
    this.#drained ??= this.#drainOnce();
    return this.#drained;
  }

  /** Closes everything at once. */
  stopNow(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#draining = true;
    clearInterval(this.#sweep);
    this.#room.close();
    for (const listener of this.#listeners.values()) listener.destroyAll();
    this.#pools.close();
    this.#streams.close();
    void this.#options.logs.close();
  }

  async #drainOnce(): Promise<void> {
    if (!this.#stopped) await this.#endConnections();
    this.stopNow();
    await this.#options.logs.close();
  }

  async #endConnections(): Promise<void> {
    this.#draining = true;
    const { log, sources } = this.#options;
    const { drainMs, lingerMs } = sources.policy().gateway.timeouts;
    log.info({ connections: this.#callers.size, drainMs }, 'draining');
    await drainConnections({
      listeners: [...this.#listeners.values()],
      callers: this.#callers,
      drainMs,
      lingerMs,
      stopped: () => this.#stopped,
      onCut: (connections) =>
        log.warn({ connections }, 'drain time is over, closing the remaining connections'),
    });
  }

  #createListeners(): ReadonlyMap<string, Listener> {
    const { sources, metrics, log, ticketSecret } = this.#options;
    const { policy } = sources;
    const serverNames = new ServerNames(sources.servers, ticketSecret);
    const slots = new HandshakeSlots();
    const listeners = policy().gateway.listeners.map(({ name }) => {
      const listener = createListener({
        name,
        policy,
        limits: this.#limits,
        serverNames,
        slots,
        deadlines: this.#deadlines,
        metrics,
        onConnection: (socket, transport, standing) => {
          this.#callers.add(new CallerConnection(socket, transport, standing, this.#callerContext()));
        },
        onFault: (fault) => log.warn(fault, 'a connection was not accepted'),
      });
      return [name, listener] as const;
    });
    return new Map(listeners);
  }

  /** Shared by all connections that were accepted under the same settings. */
  #callerContext(): CallerContext {
    const { gateway } = this.#options.sources.policy();
    if (this.#lent?.gateway !== gateway) this.#lent = { gateway, context: this.#contextUnder(gateway) };
    return this.#lent.context;
  }

  #contextUnder({ limits, timeouts }: GatewaySettings): CallerContext {
    const { memory } = this.#options;
    return {
      llhttp: this.#llhttp,
      deadlines: this.#deadlines,
      ...(memory !== undefined && { memory }),
      maxGatheredBytes: Math.min(MAX_GATHERED_BYTES, Math.floor(this.#limits().bufferedBytes / GATHER_PARTS)),
      limits,
      timeouts,
      handle: (caller, head, line) => beginExchange(this.#exchanges, caller, head, line),
      onClosed: (caller) => void this.#callers.delete(caller),
    };
  }

  #onChange(change: SourceChange): void {
    if (this.#stopped) return;
    this.#streams.examineSoon();
    if (change === 'policy') this.#follow();
  }

  #follow(): void {
    const policy = this.#options.sources.policy();
    this.#pools.follow(upstreamsOf(policy));
    for (const { failedTokens } of policy.tenants.values()) failedTokens.divideAmong(this.#processes);
  }
}
