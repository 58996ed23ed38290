/** What a handshake found out of a caller, and whether it would find the same now. */

import type { X509Certificate } from 'node:crypto';
import type { CertificateFacts, ConnectionFacts } from '../core/facts.ts';
import type { Policy } from '../policy/policy.ts';
import { issuersOf, lookedUp } from './peer-certificate.ts';
import type { NamedContext } from './server-names.ts';

/** Where the identity of a server name is asked for again. */
export interface StandingSource {
  /** May throw, or reject, when the identity cannot be used. */
  readonly find: (policy: Policy, serverName: string) => NamedContext | Promise<NamedContext> | undefined;
  /** Another number whenever any identity was read. */
  readonly identities: () => number;
}

/** What facts were judged by. */
export interface Basis {
  readonly policy: Policy;
  /** As `StandingSource.identities` counts. */
  readonly identities: number;
}

/** Who has the certificate, its issuers linked as far as the caller sent them; nobody once the connection is gone. */
export interface CertificateHolder {
  getPeerX509Certificate(): X509Certificate | undefined;
}

/**
 * A certificate that came with issuers is kept, for Node loses them for whoever looks later (see tls-context.ts); any
 * other is had from the socket again, and not held for every connection.
 */
export function certificateHolder(
  socket: CertificateHolder,
  certificate: X509Certificate | undefined,
  facts: CertificateFacts,
): CertificateHolder {
  const hasIssuers = facts.status === 'verified' && facts.chain.length > 0;
  return hasIssuers ? { getPeerX509Certificate: () => certificate } : socket;
}

/** The facts of one connection, judged again when policy or certificates are others than they were judged by. */
export class Standing {
  /** As of the last look. */
  facts: ConnectionFacts;
  readonly #source: StandingSource;
  readonly #holder: CertificateHolder;
  /** As the handshake found it: what is refused today may hold again tomorrow. */
  readonly #first: CertificateFacts;
  readonly #firstAuthorities: string | undefined;
  #basis: Basis;

  /**
   * `basis`: that of `named`, and of the handshake with it, which may be long past when it ends. `holder` has the
   * certificate behind `facts.certificate`.
   */
  constructor(
    source: StandingSource,
    basis: Basis,
    named: NamedContext,
    facts: ConnectionFacts,
    holder: CertificateHolder,
  ) {
    this.#source = source;
    this.#basis = basis;
    this.#holder = holder;
    this.#first = facts.certificate;
    this.#firstAuthorities = named.identity.clients?.digest;
    this.facts = facts;
  }

  /** The facts as of now. Nothing changed: two comparisons. */
  under(policy: Policy): ConnectionFacts {
    const identities = this.#source.identities();
    if (policy === this.#basis.policy && identities === this.#basis.identities) return this.facts;
    this.#basis = { policy, identities };
    if (this.#first.status === 'verified') this.#look(policy);
    return this.facts;
  }

  /** An identity that has to be read is asked for, and tells when it is there: until then the last verdict holds. */
  #look(policy: Policy): void {
    try {
      const found = this.#source.find(policy, this.facts.serverName);
      if (found instanceof Promise) found.catch(() => undefined);
      else if (found !== undefined) this.#judge(found);
    } catch {
      // Certificates that cannot be used say nothing against those that could be.
    }
  }

  #judge({ identity, tenant }: NamedContext): void {
    const { clients } = identity;
    const certificate = this.#holder.getPeerX509Certificate();
    const first = this.#first;
    if (certificate === undefined || clients === undefined || first.status !== 'verified') return;
    const nowMs = Date.now();
    // A resumed session has lost the issuers that came with the certificate: without need nobody is asked for them.
    const isTrusted =
      clients.digest === this.#firstAuthorities ||
      clients.vouchFor(certificate, issuersOf(certificate), nowMs);
    const reason = isTrusted
      ? clients.objection(certificate, tenant.revocation, nowMs)
      : 'its authority is not accepted any more';
    const status: CertificateFacts =
      reason === undefined
        ? lookedUp(first, clients.listsDueMs(certificate, tenant.revocation))
        : { status: 'refused', reason };
    this.facts = { ...this.facts, certificate: status };
  }
}
