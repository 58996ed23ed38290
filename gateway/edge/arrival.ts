/** One connection from accept to the end of its TLS handshake, or to its refusal. */

import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Address } from '../core/address.ts';
import { Expiring } from '../core/deadlines.ts';
import { messageOf } from '../core/error-text.ts';
import type { CertificateFacts, ConnectionFacts } from '../core/facts.ts';
import { listenerOf } from '../policy/policy.ts';
import type { ArrivalContext, ArrivalReport, HandshakeOutcome } from './arrival-context.ts';
import { canonicalServerName, readServerName } from './client-hello.ts';
import { closeFollows } from './close-follows.ts';
import type { Beginning } from './expensive-callers.ts';
import { CHAIN_BYTES, isOversized } from './peer-certificate.ts';
import { readProxyHeader } from './proxy-header.ts';
import { RECORD_BYTES } from './record-block.ts';
import type { NamedContext } from './server-names.ts';
import { certificateFacts } from './shown-certificate.ts';
import { type Basis, certificateHolder, Standing } from './standing.ts';
import type { HandshakeWatcher } from './tls-context.ts';

/** TLS 1.2 record, alert, two bytes: fatal, unrecognized_name (RFC 6066 §3). */
const UNRECOGNIZED_NAME = Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70]);

/** Allowance for keys, signatures and records around a chain. */
const OTHER_BYTES = 2048;
const OUT = 'its address has recently sent an oversized certificate chain';

/** Owns the socket until `onSecured`; in every other case it closes the socket. The outcome is reported once. */
export class Arrival extends Expiring implements HandshakeWatcher, Beginning {
  readonly #socket: Socket;
  readonly #peer: Address;
  readonly #context: ArrivalContext;
  readonly #chunks: Buffer[] = [];
  #receivedBytes = 0;
  #neededBytes = 0;
  #awaitsProxyHeader = false;
  /** The caller's address in the PROXY header. */
  #proxied: Address | undefined;
  #serverName: string | undefined;
  #named: NamedContext | undefined;
  /** What `#named` is based on. Changes during the handshake are not in it, and must be checked afterwards. */
  #basis: Basis | undefined;
  #hasSlot = false;
  #settled = false;
  /** Bytes read before the handshake. */
  #bytesBefore = 0;
  #isSecured = false;

  constructor(socket: Socket, peer: Address, context: ArrivalContext) {
    super();
    this.#socket = socket;
    this.#peer = peer;
    this.#context = context;
    context.deadlines.arm(this, context.policy().gateway.timeouts.handshakeMs);
    socket.on('close', this.#onClose);
    const { proxyProtocol, trustedProxies } = listenerOf(context.policy(), context.listener);
    const isProxy = proxyProtocol !== 'off' && trustedProxies.contains(peer);
    this.#awaitsProxyHeader = isProxy;
    if (proxyProtocol === 'require' && !isProxy)
      this.#refuse('bad-proxy-header', 'the peer is not a trusted proxy');
    else if (isProxy || this.#claimPlace()) socket.on('data', this.#onData);
  }

  override expire(): void {
    this.#refuse('timeout', 'the handshake took too long');
  }

  onSecure(socket: TLSSocket, shown: X509Certificate | undefined): void {
    socket.on('error', closeFollows);
    const named = this.#named;
    const basis = this.#basis;
    if (this.#settled || named === undefined || basis === undefined) {
      socket.destroy();
      return;
    }
    this.#isSecured = true;
    if (shown !== undefined && !socket.authorized && isOversized(shown)) {
      this.#refuse('certificate-denied', 'its chain is too large');
      this.#shutOutCaller();
      return;
    }
    const certificate = certificateFacts(socket, shown, named, this.#context.leaves);
    if (named.rules.clientCertificates === 'require' && certificate.status !== 'verified') {
      if (certificate.status === 'absent') this.#refuse('certificate-required', 'no client certificate');
      else this.#refuse('certificate-denied', certificate.reason);
      return;
    }
    const facts = this.#factsOf(socket, certificate);
    this.#settle({ outcome: 'accepted', facts });
    this.#socket.off('close', this.#onClose);
    const holder = certificateHolder(socket, shown, certificate);
    const standing = new Standing(this.#context, basis, named, facts, holder);
    this.#context.onSecured(socket, this.#socket, standing);
  }

  shutOut(): void {
    this.#refuse('over-limit', OUT);
  }

  onHandshakeFailed(error: Error): void {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.message;
    // Node has a timer of its own for the same limit, started a little later and checked more often.
    if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') this.expire();
    else this.#refuse('failed', code);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes < this.#neededBytes) return;
    let bytes = this.#gather();
    if (this.#awaitsProxyHeader) {
      const rest = this.#readProxyHeader(bytes);
      if (rest === undefined) return;
      bytes = rest;
    }
    const progress = readServerName(bytes);
    if (progress.kind === 'more') this.#neededBytes = progress.neededBytes;
    else if (progress.kind === 'fault') this.#refuse('bad-client-hello', progress.reason);
    else this.#choose(progress.name, bytes);
  };

  #gather(): Buffer {
    const [first] = this.#chunks;
    const bytes = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#chunks.length = 0;
    this.#chunks.push(bytes);
    return bytes;
  }

  /** Returns what follows the header; undefined if more bytes are needed or the connection was refused. */
  #readProxyHeader(bytes: Buffer): Buffer | undefined {
    const progress = readProxyHeader(bytes);
    if (progress.kind === 'more') {
      this.#neededBytes = progress.neededBytes;
      return undefined;
    }
    if (progress.kind === 'fault') return this.#refuse('bad-proxy-header', progress.reason);
    const { proxyProtocol } = listenerOf(this.#context.policy(), this.#context.listener);
    if (progress.kind === 'absent' && proxyProtocol === 'require')
      return this.#refuse('bad-proxy-header', 'missing PROXY header');
    this.#awaitsProxyHeader = false;
    if (progress.kind === 'header') this.#proxied = progress.source?.address;
    if (!this.#claimPlace()) return undefined;
    const rest = progress.kind === 'header' ? bytes.subarray(progress.bytes) : bytes;
    this.#chunks.length = 0;
    this.#chunks.push(rest);
    this.#receivedBytes = rest.length;
    this.#neededBytes = 0;
    return rest;
  }

  /** The caller's address, as far as it is known. */
  get #caller(): Address {
    return this.#proxied ?? this.#peer;
  }

  #claimPlace(): boolean {
    const { expensive, deadlines, claimPlace } = this.#context;
    if (!expensive.begin(this.#caller, this, deadlines.nowMs)) this.#refuse('over-limit', OUT);
    else if (!claimPlace(this.#socket, this.#caller))
      this.#refuse('over-limit', 'too many connections from one address');
    return !this.#settled;
  }

  #choose(rawName: string | undefined, bytes: Buffer): void {
    this.#chunks.length = 0;
    this.#socket.off('data', this.#onData);
    this.#socket.pause();
    const serverName = rawName === undefined ? undefined : canonicalServerName(rawName);
    if (serverName === undefined) {
      this.#refuseName(rawName === undefined ? 'no server name' : 'the server name is not a host name');
      return;
    }
    this.#serverName = serverName;
    this.#hasSlot = this.#context.slots.take(this.#context.limits().handshakes);
    if (!this.#hasSlot) {
      this.#refuse('over-limit', 'too many handshakes at once');
      return;
    }
    this.#basis = { policy: this.#context.policy(), identities: this.#context.identities() };
    try {
      const found = this.#context.find(this.#basis.policy, serverName);
      if (found instanceof Promise) this.#await(found, bytes);
      else this.#begin(found, bytes);
    } catch (error) {
      this.#refuse('failed', describe(error));
    }
  }

  /** The folder of a name that is not loaded is read while the caller waits. */
  #await(found: Promise<NamedContext>, bytes: Buffer): void {
    found.then(
      (named) => this.#begin(named, bytes),
      (error: unknown) => this.#refuse('failed', describe(error)),
    );
  }

  #begin(named: NamedContext | undefined, bytes: Buffer): void {
    if (this.#settled || this.#socket.destroyed) return;
    if (named === undefined) {
      this.#refuseName('no tenant has this server name');
      return;
    }
    this.#named = named;
    this.#bytesBefore = this.#socket.bytesRead;
    this.#socket.unshift(bytes);
    named.tls.begin(this.#socket, this);
  }

  /** Costs no cryptography; the alert shows an honest client what to correct. */
  #refuseName(reason: string): void {
    this.#settle({ outcome: 'unknown-name', reason });
    this.#socket.write(UNRECOGNIZED_NAME);
    this.#socket.destroySoon();
  }

  #refuse(outcome: HandshakeOutcome, reason: string): undefined {
    this.#settle({ outcome, reason });
    this.#socket.destroy();
  }

  /** A connection that closes without a byte is a port probe, not a handshake. */
  readonly #onClose = (): void => {
    if (this.#receivedBytes > 0) this.#settle({ outcome: 'failed', reason: 'the connection closed' });
    else this.#leave();
  };

  #settle(ending: Pick<ArrivalReport, 'outcome' | 'reason' | 'facts'>): void {
    if (this.#settled) return;
    this.#settled = true;
    if (this.#hasSlot) this.#context.slots.giveBack();
    this.#leave();
    if (ending.outcome !== 'accepted' && this.#isTooLarge) this.#shutOutCaller();
    const report = {
      ...ending,
      ...(this.#serverName !== undefined && { serverName: this.#serverName }),
      ...(this.#named !== undefined && { tenant: this.#named.tenant.name }),
    };
    this.#context.onSettled(report, this.#caller);
  }

  /** Stops tracking the arrival. */
  #leave(): void {
    this.#context.expensive.end(this.#caller, this);
    this.#context.deadlines.disarm(this);
  }

  /**
   * OpenSSL parses the chain as it arrives, whatever the outcome of the handshake: the bytes read measure its cost. The
   * last read may include data that follows the chain.
   */
  get #isTooLarge(): boolean {
    const bytes = this.#named === undefined ? 0 : this.#socket.bytesRead - this.#bytesBefore;
    return bytes > CHAIN_BYTES + OTHER_BYTES + (this.#isSecured ? RECORD_BYTES : 0);
  }

  #shutOutCaller(): void {
    const { expensive, deadlines, policy, listener } = this.#context;
    // A trusted proxy that has not named a caller speaks for all of its callers.
    const isOneCaller =
      this.#proxied !== undefined || !listenerOf(policy(), listener).trustedProxies.contains(this.#peer);
    if (isOneCaller) expensive.shutOut(this.#caller, deadlines.nowMs);
  }

  #factsOf(socket: TLSSocket, certificate: CertificateFacts): ConnectionFacts {
    return {
      listener: this.#context.listener,
      serverName: this.#serverName ?? '',
      peer: this.#peer,
      peerPort: this.#socket.remotePort ?? 0,
      ...(this.#proxied !== undefined && { proxied: this.#proxied }),
      certificate,
      tlsVersion: socket.getProtocol() ?? '',
      tlsResumed: socket.isSessionReused(),
    };
  }
}

function describe(error: unknown): string {
  return `the server name cannot be served: ${messageOf(error)}`;
}
