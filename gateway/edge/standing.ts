/** What a handshake established about a caller, and whether it still holds. */

import type { X509Certificate } from 'node:crypto';
import type { CertificateFacts, ConnectionFacts } from '../core/facts.ts';
import type { Policy } from '../policy/policy.ts';
import { issuersOf, lookedUp } from './peer-certificate.ts';
import type { NamedContext } from './server-names.ts';

/** Looks up the identity of a server name again. */
export interface StandingSource {
  /** May throw, or reject, if the identity cannot be used. */
  readonly find: (policy: Policy, serverName: string) => NamedContext | Promise<NamedContext> | undefined;
  /** Changes whenever any identity is loaded or replaced. */
  readonly identities: () => number;
}

/** What facts were judged against. */
export interface Basis {
  readonly policy: Policy;
  /** The value of `StandingSource.identities`. */
  readonly identities: number;
}

/** Returns the certificate, with issuers as far as the caller sent them; undefined once the connection is gone. */
export interface CertificateHolder {
  getPeerX509Certificate(): X509Certificate | undefined;
}

/**
 * A certificate that came with issuers is kept, because Node drops them for later calls (see tls-context.ts). Any other
 * is read from the socket again, instead of being kept for every connection.
 */
export function certificateHolder(
  socket: CertificateHolder,
  certificate: X509Certificate | undefined,
  facts: CertificateFacts,
): CertificateHolder {
  const hasIssuers = facts.status === 'verified' && facts.chain.length > 0;
  return hasIssuers ? { getPeerX509Certificate: () => certificate } : socket;
}

/** The facts of one connection, judged again when the policy or the certificates have changed. */
export class Standing {
  /** As of the last check. */
  facts: ConnectionFacts;
  readonly #source: StandingSource;
  readonly #holder: CertificateHolder;
  /** As the handshake found it: what is refused today may be valid again tomorrow. */
  readonly #first: CertificateFacts;
  readonly #firstAuthorities: string | undefined;
  #basis: Basis;

  /**
   * `basis`: what `named` was looked up with before the handshake, possibly out of date by now. `holder` has the
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

  /** Returns the current facts. Cost if nothing has changed: two comparisons. */
  under(policy: Policy): ConnectionFacts {
    const identities = this.#source.identities();
    if (policy === this.#basis.policy && identities === this.#basis.identities) return this.facts;
    this.#basis = { policy, identities };
    if (this.#first.status === 'verified') this.#look(policy);
    return this.facts;
  }

  /** Until an identity that must be read first is loaded, which changes `identities`, the last verdict holds. */
  #look(policy: Policy): void {
    try {
      const found = this.#source.find(policy, this.facts.serverName);
      if (found instanceof Promise) found.catch(() => undefined);
      else if (found !== undefined) this.#judge(found);
    } catch {
      // If the identity cannot be used now, the last verdict holds.
    }
  }

  #judge({ identity, tenant }: NamedContext): void {
    const { clients } = identity;
    const certificate = this.#holder.getPeerX509Certificate();
    const first = this.#first;
    if (certificate === undefined || clients === undefined || first.status !== 'verified') return;
    const nowMs = Date.now();
    // A resumed session has lost the issuers that came with the certificate: they are used only if authorities changed.
    const isTrusted =
      clients.digest === this.#firstAuthorities ||
      clients.vouchFor(certificate, issuersOf(certificate), nowMs);
    const reason = isTrusted
      ? clients.objection(certificate, tenant.revocation, nowMs)
      : 'its authority is no longer accepted';
    const status: CertificateFacts =
      reason === undefined
        ? lookedUp(first, clients.listsDueMs(certificate, tenant.revocation))
        : { status: 'refused', reason };
    this.facts = { ...this.facts, certificate: status };
  }
}
