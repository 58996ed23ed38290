/** TLS for one server name under one set of rules: what is shown, whom is trusted, and its own ticket keys. */

import { constants, hash, hkdfSync, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, TLSSocket, type TlsOptions } from 'node:tls';
import type { ServerIdentity } from '../certificates/server-identity.ts';
import type { ClientCertificateMode, TlsVersion } from '../policy/gateway-settings.ts';

/** The rules a context is made for; another value of any of them is another context. */
export interface ContextRules {
  readonly tenant: string;
  readonly clientCertificates: ClientCertificateMode;
  readonly minTlsVersion: TlsVersion;
  readonly sessionResumption: 'bound' | 'off';
  readonly handshakeMs: number;
}

/** Hears how one handshake ends: one call, or none when the connection closes first. */
export interface HandshakeWatcher {
  /**
   * The handshake is done. Whether the client's certificate is good is in `authorized`, and not enforced. The issuers
   * of the certificate are linked as far as the client sent them; a resumed session knows the leaf alone.
   */
  onSecure(socket: TLSSocket, certificate: X509Certificate | undefined): void;
  onHandshakeFailed(error: Error): void;
}

/** A handshake under way, and what ends its being known when the connection closes first. */
interface Running {
  readonly watcher: HandshakeWatcher;
  readonly transport: Socket;
  readonly onClose: () => void;
}

/** Authenticated ciphers with ephemeral keys only; the order of OpenSSL. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE+AESGCM',
  'ECDHE+CHACHA20',
].join(':');
const TICKET_KEY_BYTES = 48;
/** Longest `sessionIdContext` OpenSSL takes. */
const CONTEXT_ID_CHARACTERS = 32;
/** Keys of tickets are replaced so often: what a stolen key opens is bounded in time. */
const TICKET_KEY_LIFE_MS = 3_600_000;

/**
 * A `tls.Server` that never listens: sockets whose ClientHello was read are handed to it. So the context is chosen
 * before TLS begins, and a session is resumed where it was made or not at all.
 */
export class TlsContext {
  readonly #server: Server;
  readonly #ticketKeys: (period: number) => Buffer;
  #period: number;
  /** Handshakes by the two ends of their connection: the server names its sockets by nothing else. */
  readonly #running = new Map<string, Running>();
  readonly #firstSeen: FirstSeen = new WeakMap();

  /**
   * Ticket keys follow from the secret and from all that a session stands for, so that processes which share the
   * secret resume each other's sessions, and a change of anything ends them. Cost: about a millisecond.
   */
  constructor(identity: ServerIdentity, rules: ContextRules, ticketSecret: Buffer) {
    const stands = `${identity.serverName} ${identity.digest} ${JSON.stringify(Object.values(rules))}`;
    this.#ticketKeys = (period) =>
      Buffer.from(hkdfSync('sha256', ticketSecret, '', `ticket ${period} ${stands}`, TICKET_KEY_BYTES));
    this.#period = currentPeriod();
    this.#server = createServer(optionsFor(identity, rules, this.#ticketKeys(this.#period), this.#firstSeen));
    this.#server.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#server.on('tlsClientError', (error, socket) => this.#onClientError(error, socket));
  }

  /** Begins the handshake on a socket whose bytes were all given back. */
  begin(socket: Socket, watcher: HandshakeWatcher): void {
    const ends = endsOf(socket);
    this.#renewTicketKeys();
    const onClose = (): void => {
      if (this.#running.get(ends)?.watcher === watcher) this.#running.delete(ends);
    };
    this.#running.set(ends, { watcher, transport: socket, onClose });
    socket.on('close', onClose);
    this.#server.emit('connection', socket);
  }

  #renewTicketKeys(): void {
    const period = currentPeriod();
    if (period === this.#period) return;
    this.#period = period;
    this.#server.setTicketKeys(this.#ticketKeys(period));
  }

  #onSecure(socket: TLSSocket): void {
    const watcher = this.#take(socket);
    const certificate = this.#firstSeen.get(socket) ?? socket.getPeerX509Certificate();
    this.#firstSeen.delete(socket);
    if (watcher === undefined) socket.destroy();
    else watcher.onSecure(socket, certificate);
  }

  #onClientError(error: Error, socket: TLSSocket): void {
    const watcher = this.#take(socket);
    socket.destroy();
    watcher?.onHandshakeFailed(error);
  }

  /** A peer that is gone already has no address any more; the close of its connection tells the watcher's owner. */
  #take(socket: TLSSocket): HandshakeWatcher | undefined {
    const ends = endsOf(socket);
    const running = this.#running.get(ends);
    if (running === undefined) return undefined;
    this.#running.delete(ends);
    running.transport.off('close', running.onClose);
    return running.watcher;
  }
}

/** Certificates of clients as they were when the handshake ended. */
type FirstSeen = WeakMap<TLSSocket, X509Certificate>;

/**
 * Chooses nothing: it is the one place where the socket is at hand before Node looks at the certificate itself, which
 * from 24.21 and 26.8 on loses the chain for whoever looks later (nodejs/node#65579).
 */
function lookFirst(seen: FirstSeen): NonNullable<TlsOptions['SNICallback']> {
  return function (this: unknown, _serverName, done): void {
    if (this instanceof TLSSocket) {
      this.prependOnceListener('secure', () => {
        const certificate = this.getPeerX509Certificate();
        if (certificate !== undefined) seen.set(this, certificate);
      });
    }
    done(null);
  };
}

function endsOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;
}

/** The same in every process at the same time. */
function currentPeriod(): number {
  return Math.floor(Date.now() / TICKET_KEY_LIFE_MS);
}

function optionsFor(
  identity: ServerIdentity,
  rules: ContextRules,
  ticketKeys: Buffer,
  seen: FirstSeen,
): TlsOptions {
  const asks = rules.clientCertificates !== 'none';
  return {
    cert: identity.keys.map((each) => each.chainPem),
    key: identity.keys.map((each) => each.keyPem),
    // Always a list: anything falsy would trust every public authority for clients.
    ca: asks ? [...(identity.clients?.pems ?? [])] : [],
    requestCert: asks,
    ...(asks && { SNICallback: lookFirst(seen) }),
    // The refusal is ours, so that it can be counted and named.
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    minVersion: rules.minTlsVersion,
    ciphers: CIPHERS,
    honorCipherOrder: true,
    handshakeTimeout: rules.handshakeMs,
    secureOptions:
      constants.SSL_OP_NO_RENEGOTIATION |
      (rules.sessionResumption === 'off' ? constants.SSL_OP_NO_TICKET : 0),
    sessionIdContext: hash('sha256', `${rules.tenant} ${identity.serverName}`).slice(
      0,
      CONTEXT_ID_CHARACTERS,
    ),
    ticketKeys,
  };
}
