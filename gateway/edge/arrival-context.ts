/** What arrivals are given, and what they report when they are over. */

import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Address } from '../core/address.ts';
import type { Deadlines } from '../core/deadlines.ts';
import type { ConnectionFacts } from '../core/facts.ts';
import type { GatewayLimits } from '../policy/gateway-settings.ts';
import type { Policy } from '../policy/policy.ts';
import type { ExpensiveCallers } from './expensive-callers.ts';
import type { HandshakeSlots } from './handshake-slots.ts';
import type { KnownLeaves } from './peer-certificate.ts';
import type { Standing, StandingSource } from './standing.ts';

/** How an arrival ended: the label of the handshake metric. */
export type HandshakeOutcome =
  | 'accepted'
  | 'certificate-required'
  | 'certificate-denied'
  | 'unknown-name'
  | 'bad-client-hello'
  | 'bad-proxy-header'
  | 'timeout'
  | 'over-limit'
  | 'failed';

/** The outcome of one arrival; what was not learnt is absent. */
export interface ArrivalReport {
  readonly outcome: HandshakeOutcome;
  /** For the log: why it was not accepted. */
  readonly reason?: string;
  readonly serverName?: string;
  readonly tenant?: string;
  readonly facts?: ConnectionFacts;
}

/** What the listener provides to its arrivals. */
export interface ArrivalContext extends StandingSource {
  readonly listener: string;
  readonly policy: () => Policy;
  readonly limits: () => Pick<GatewayLimits, 'handshakes'>;
  readonly deadlines: Deadlines;
  readonly slots: HandshakeSlots;
  readonly leaves: KnownLeaves;
  readonly expensive: ExpensiveCallers;
  /** Takes one of the address's places until the socket closes; returns false if none is left. */
  readonly claimPlace: (socket: Socket, address: Address) => boolean;
  /** Called once for each arrival, before `onSecured`, except for one that the peer closes without sending a byte. */
  readonly onSettled: (report: ArrivalReport, peer: Address) => void;
  /** `transport` is the TCP connection below TLS. */
  readonly onSecured: (socket: TLSSocket, transport: Socket, standing: Standing) => void;
}
