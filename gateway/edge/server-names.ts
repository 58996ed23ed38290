/** From a server name to the tenant that owns it and the TLS context made for it alone. */

import type { ServerIdentity } from '../policy/certificates.ts';
import { type ListenerSettings, type Policy, tenantOf } from '../policy/policy.ts';
import { type ContextRules, TlsContext } from './tls-context.ts';

/** What a server name stands for. */
export interface NamedContext {
  readonly rules: ContextRules;
  readonly tls: TlsContext;
}

/**
 * Contexts made when a name is first asked for and kept while its identity and rules stay the same. Another identity
 * or another rule is a new context with new ticket keys: sessions made before meet the full handshake.
 */
export class ServerNames {
  #identities: Policy['identities'] | undefined;
  #contexts = new Map<string, TlsContext>();
  /** Contexts of the policy before, taken over by the first look-up; what nobody asks for ends with the next reload. */
  #former = new Map<string, TlsContext>();

  /**
   * The context of a canonical name; nothing when no tenant or no identity has it. Throws when the identity cannot
   * be used.
   */
  find(policy: Policy, listener: ListenerSettings, serverName: string): NamedContext | undefined {
    const tenant = tenantOf(policy, serverName);
    const identity = identityOf(policy, serverName);
    if (tenant === undefined || identity === undefined) return undefined;
    const rules = {
      tenant: tenant.name,
      clientCertificates: tenant.clientCertificates ?? listener.clientCertificates,
      minTlsVersion: tenant.minTlsVersion ?? listener.minTlsVersion,
      sessionResumption: listener.sessionResumption,
      handshakeMs: policy.gateway.timeouts.handshakeMs,
    };
    this.#turn(policy);
    return { rules, tls: this.#contextOf(identity, rules) };
  }

  #turn(policy: Policy): void {
    if (this.#identities === policy.identities) return;
    this.#identities = policy.identities;
    this.#former = this.#contexts;
    this.#contexts = new Map();
  }

  #contextOf(identity: ServerIdentity, rules: ContextRules): TlsContext {
    const key = JSON.stringify([identity.serverName, identity.digest, Object.values(rules)]);
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    const context = this.#former.get(key) ?? new TlsContext(identity, rules);
    this.#contexts.set(key, context);
    return context;
  }
}

/** The identity of the exact name first, then of the wildcard one label up. */
function identityOf(policy: Policy, serverName: string): ServerIdentity | undefined {
  const exact = policy.identities.get(serverName);
  if (exact !== undefined) return exact;
  const dot = serverName.indexOf('.');
  return dot > 0 ? policy.identities.get(`*${serverName.slice(dot)}`) : undefined;
}
