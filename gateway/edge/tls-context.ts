/** TLS for one server name under one set of rules: what it presents, whom it trusts, and its own ticket keys. */

import { constants, hash, hkdfSync, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, TLSSocket, type TlsOptions } from 'node:tls';
import type { ServerIdentity } from '../certificates/server-identity.ts';
import type { ClientCertificateMode, TlsVersion } from '../policy/gateway-settings.ts';

/** The rules a context is made for; a different value of any of them makes a different context. */
export interface ContextRules {
  readonly tenant: string;
  readonly clientCertificates: ClientCertificateMode;
  readonly minTlsVersion: TlsVersion;
  readonly sessionResumption: 'bound' | 'off';
  readonly handshakeMs: number;
}

/** Receives the outcome of one handshake: one call, or none if the connection closes first. */
export interface HandshakeWatcher {
  /**
   * The handshake is done. `authorized` says whether the client's certificate is good, which is not enforced. Its
   * issuers are linked as far as the client sent them; a resumed session has only the leaf.
   */
  onSecure(socket: TLSSocket, certificate: X509Certificate | undefined): void;
  onHandshakeFailed(error: Error): void;
}

/** A handshake under way, and the handler that forgets it if the connection closes first. */
interface Running {
  readonly watcher: HandshakeWatcher;
  readonly transport: Socket;
  readonly onClose: () => void;
}

/** Only authenticated ciphers with ephemeral keys, in the order of OpenSSL. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE+AESGCM',
  'ECDHE+CHACHA20',
].join(':');
const TICKET_KEY_BYTES = 48;
/** Longest `sessionIdContext` that OpenSSL accepts. */
const CONTEXT_ID_CHARACTERS = 32;
/** Ticket keys are replaced this often, which limits what a stolen key opens. */
const TICKET_KEY_LIFE_MS = 3_600_000;

/**
 * A `tls.Server` that never listens: sockets whose ClientHello was read are handed to it. The context is thus chosen
 * before TLS begins, and a session is resumed in the context that made it or not at all.
 */
export class TlsContext {
  readonly #server: Server;
  readonly #ticketKeys: (period: number) => Buffer;
  #period: number;
  /** By the addresses of both ends, the only link from a TLS socket of the server to its connection. */
  readonly #running = new Map<string, Running>();
  readonly #firstSeen: FirstSeen = new WeakMap();

  /**
   * Ticket keys are derived from the secret and from all that a session stands for: processes that share the secret
   * resume each other's sessions, and any change invalidates them. Cost: about a millisecond.
   */
  constructor(identity: ServerIdentity, rules: ContextRules, ticketSecret: Buffer) {
    const stands = `${identity.serverName} ${identity.digest} ${JSON.stringify(Object.values(rules))}`;
    this.#ticketKeys = (period) =>
      Buffer.from(hkdfSync('sha256', ticketSecret, '', `ticket ${period} ${stands}`, TICKET_KEY_BYTES));
    this.#period = currentPeriod();
    this.#server = createServer(optionsFor(identity, rules, this.#ticketKeys(this.#period), this.#firstSeen));
    this.#server.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#server.on('resumeSession', refuseSession);
    this.#server.on('tlsClientError', (error, socket) => this.#onClientError(error, socket));
  }

  /** Begins the handshake on a socket whose bytes were all unshifted. */
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

  /** Finds nothing for a peer that has gone, which has no address; the watcher's owner sees its connection close. */
  #take(socket: TLSSocket): HandshakeWatcher | undefined {
    const ends = endsOf(socket);
    const running = this.#running.get(ends);
    if (running === undefined) return undefined;
    this.#running.delete(ends);
    running.transport.off('close', running.onClose);
    return running.watcher;
  }
}

/** Client certificates, read as the handshake ended. */
type FirstSeen = WeakMap<TLSSocket, X509Certificate>;

/**
 * Chooses no context: `SNICallback` is the one place that gets the socket before Node reads the certificate. From 24.21
 * and 26.8 on, Node drops the chain for later calls (nodejs/node#65579).
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

/**
 * Sessions are resumed by ticket only: none is stored. With a listener Node gives a connection a first buffer of 16 KiB
 * for what it reads; else one as long as the ClientHello, and every other read of an upload would be as short as that.
 */
function refuseSession(_id: Buffer, done: (error: null, session: null) => void): void {
  done(null, null);
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
    // We refuse the certificate ourselves, so that the refusal is counted and has a reason.
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
