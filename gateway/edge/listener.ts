/** A TCP listener whose connections arrive behind TLS, in the context of the server name they asked for. */

import { createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Address, parseAddress } from '../core/address.ts';
import type { Deadlines } from '../core/deadlines.ts';
import { bind, bindShared } from '../net/bind.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { GatewayLimits, HostPort } from '../policy/gateway-settings.ts';
import { listenerOf, type Policy } from '../policy/policy.ts';
import { Arrival } from './arrival.ts';
import type { ArrivalContext, ArrivalReport } from './arrival-context.ts';
import { closeFollows } from './close-follows.ts';
import { ConnectionLimits } from './connection-limits.ts';
import { ExpensiveCallers } from './expensive-callers.ts';
import type { HandshakeSlots } from './handshake-slots.ts';
import { KnownLeaves } from './peer-certificate.ts';
import type { ServerNames } from './server-names.ts';
import type { Standing } from './standing.ts';

/** A connection that was not accepted, or a failed accept: for the log. */
export interface ListenerFault {
  readonly listener: string;
  readonly outcome: Exclude<ArrivalReport['outcome'], 'accepted'> | 'accept-failed';
  readonly reason: string;
  readonly peer?: string;
  readonly serverName?: string;
  readonly tenant?: string;
}

export interface ListenerOptions {
  /** Name of the listener in the policy; its settings are read again for each connection. */
  readonly name: string;
  /** The current policy. */
  readonly policy: () => Policy;
  /** The current limits of this process. */
  readonly limits: () => GatewayLimits;
  /** May be shared by listeners. */
  readonly serverNames: ServerNames;
  /** May be shared by listeners. */
  readonly slots: HandshakeSlots;
  readonly deadlines: Deadlines;
  readonly metrics: Pick<Metrics, 'listening' | 'connectionOpened' | 'connectionClosed' | 'handshake'>;
  /** Takes over the socket and the TCP connection below it; both have 'error' listeners, and no byte was read. */
  readonly onConnection: (socket: TLSSocket, transport: Socket, standing: Standing) => void;
  readonly onFault?: (fault: ListenerFault) => void;
}

/** How an address is bound. */
export interface Binding {
  /** Used instead of the policy's address if `reusePort` is true. */
  readonly address?: HostPort | undefined;
  /** Lets other processes of this user bind it too, each of which gets part of the connections; true by default. */
  readonly reusePort?: boolean;
}

export interface Listener {
  /** Binds the policy's address, or another one, and resolves to the one in use; rejects if it cannot be bound. */
  listen(binding?: Binding): Promise<HostPort>;
  /**
   * Accepts the connections that already wait, and then no more: the system resets those that wait when a socket
   * closes. Accepted ones continue, including handshakes under way.
   */
  stopAccepting(): Promise<void>;
  /** Destroys every connection accepted here, whatever owns it now, and stops accepting. */
  destroyAll(): void;
  /** Connections accepted and not closed, including handshakes under way. */
  readonly connections: number;
}

export function createListener(options: ListenerOptions): Listener {
  return new TlsListener(options);
}

/** More than ever wait at once; bounds the loop while new ones keep coming. */
const TURNS = 4096;
const QUICK_MS = 0.2;

class TlsListener implements Listener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #limits = new ConnectionLimits();
  /** Open sockets, with the address whose place each has taken. */
  readonly #sockets = new Map<Socket, Address | undefined>();
  readonly #arrivals: ArrivalContext;
  #accepted = 0;

  constructor(options: ListenerOptions) {
    const { name, policy, limits, deadlines, serverNames, slots, onConnection } = options;
    this.#options = options;
    this.#arrivals = {
      listener: name,
      policy,
      limits,
      deadlines,
      slots,
      leaves: new KnownLeaves(),
      expensive: new ExpensiveCallers(),
      find: (current, serverName) => serverNames.find(current, listenerOf(current, name), serverName),
      identities: () => serverNames.identities,
      claimPlace: (socket, address) => this.#claimPlace(socket, address),
      onSettled: (report, peer) => this.#onSettled(report, peer),
      onSecured: onConnection,
    };
    this.#server = createServer({ noDelay: true }, (socket) => this.#onSocket(socket));
    // It fails one accept, not the listener. If descriptors run out, libuv closes connections without an error.
    this.#server.on('error', (error) => this.#onAcceptError(error));
  }

  get connections(): number {
    return this.#limits.total;
  }

  async listen({ address, reusePort = true }: Binding = {}): Promise<HostPort> {
    const written = listenerOf(this.#options.policy(), this.#options.name).address;
    if (reusePort) await bindShared(this.#server, address ?? written, written);
    else await bind(this.#server, written);
    this.#options.metrics.listening(this.#options.name);
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string') throw new Error('the listener has no address');
    return { host: bound.address, port: bound.port };
  }

  /**
   * Each turn of the event loop accepts one connection, if one waits. One that comes between that check and the close
   * is reset, so the server is closed after a quick turn that accepted none.
   */
  async stopAccepting(): Promise<void> {
    for (let left = TURNS; left > 0; left -= 1) {
      const [before, sinceMs] = [this.#accepted, performance.now()];
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#accepted === before && performance.now() - sinceMs < QUICK_MS) break;
    }
    this.#close();
  }

  destroyAll(): void {
    this.#close();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  /** Returns at once: 'close' would come only after the last connection. */
  #close(): void {
    if (this.#server.listening) this.#server.close();
  }

  #onSocket(socket: Socket): void {
    this.#accepted += 1;
    socket.on('error', closeFollows);
    const peer = peerOf(socket);
    // A caller that has already gone has no address.
    if (peer === undefined) {
      socket.destroy();
      return;
    }
    const { name, limits, metrics } = this.#options;
    if (!this.#limits.admit(limits())) {
      socket.destroy();
      metrics.handshake('', '', false, 'over-limit');
      this.#fault({ outcome: 'over-limit', reason: 'too many connections', peer: peer.text });
      return;
    }
    metrics.connectionOpened(name);
    this.#sockets.set(socket, undefined);
    socket.on('close', () => this.#onClose(socket));
    new Arrival(socket, peer, this.#arrivals);
  }

  #onClose(socket: Socket): void {
    const address = this.#sockets.get(socket);
    this.#sockets.delete(socket);
    this.#limits.release();
    if (address !== undefined) this.#limits.letGo(address);
    this.#options.metrics.connectionClosed(this.#options.name);
  }

  /** The place is released when the connection closes; one that has already closed takes none. */
  #claimPlace(socket: Socket, address: Address): boolean {
    if (!this.#sockets.has(socket)) return true;
    const claimed = this.#limits.hold(address, this.#options.limits());
    if (claimed) this.#sockets.set(socket, address);
    return claimed;
  }

  #onSettled(report: ArrivalReport, peer: Address): void {
    const { outcome, reason = '', serverName, tenant, facts } = report;
    const { metrics } = this.#options;
    metrics.handshake(tenant ?? '', facts?.tlsVersion ?? '', facts?.tlsResumed ?? false, outcome);
    if (outcome === 'accepted') return;
    this.#fault({
      outcome,
      reason,
      peer: peer.text,
      ...(serverName !== undefined && { serverName }),
      ...(tenant !== undefined && { tenant }),
    });
  }

  #onAcceptError(error: Error): void {
    this.#fault({ outcome: 'accept-failed', reason: error.message });
  }

  #fault(fault: Omit<ListenerFault, 'listener'>): void {
    this.#options.onFault?.({ listener: this.#options.name, ...fault });
  }
}

/** The peer's address, without the zone of a link-local one. */
function peerOf(socket: Socket): Address | undefined {
  const [address] = (socket.remoteAddress ?? '').split('%');
  return address === undefined ? undefined : parseAddress(address);
}
