/** Maps a server name to the tenant that owns it and to the TLS context made for it alone. */

import type { Identities } from '../certificates/identity-store.ts';
import { type ServerIdentity, serverIdentitySource } from '../certificates/server-identity.ts';
import type { ListenerSettings } from '../policy/gateway-settings.ts';
import { asksForClients, matchServerName, type Policy, type Tenant } from '../policy/policy.ts';
import { type ContextRules, TlsContext } from './tls-context.ts';

/** What a server name stands for. */
export interface NamedContext {
  readonly tenant: Tenant;
  readonly rules: ContextRules;
  readonly identity: ServerIdentity;
  readonly tls: TlsContext;
}

/** The identity of a tenant's name cannot be used; the faults of the store say why. */
class UnusableIdentityError extends Error {}

/**
 * Contexts live as long as their identity. When the identity is replaced by a different one, its ticket keys change
 * too, and sessions made before get a full handshake.
 */
export class ServerNames {
  readonly #identities: Identities<ServerIdentity>;
  readonly #ticketSecret: Buffer;
  readonly #contexts = new WeakMap<ServerIdentity, Map<string, TlsContext>>();

  /** `ticketSecret`: 32 random bytes, the same in every process that should resume the sessions of the others. */
  constructor(identities: Identities<ServerIdentity>, ticketSecret: Buffer) {
    this.#identities = identities;
    this.#ticketSecret = ticketSecret;
  }

  /** Changes whenever an identity is loaded or replaced. */
  get identities(): number {
    return this.#identities.version;
  }

  /**
   * The context of a canonical name, or a promise of it if its folder must be read first; undefined if no tenant has
   * the name. Throws, or rejects with, `UnusableIdentityError`.
   */
  find(
    policy: Policy,
    listener: ListenerSettings,
    serverName: string,
  ): NamedContext | Promise<NamedContext> | undefined {
    const match = matchServerName(policy, serverName);
    if (match === undefined) return undefined;
    const { tenant } = match;
    const identity = this.#identities.get(
      serverIdentitySource(policy.gateway.certificates, match.serverName, asksForClients(policy, tenant)),
    );
    const rules = {
      tenant: tenant.name,
      clientCertificates: tenant.clientCertificates ?? listener.clientCertificates,
      minTlsVersion: tenant.minTlsVersion ?? listener.minTlsVersion,
      sessionResumption: tenant.forwardsChains ? ('off' as const) : listener.sessionResumption,
      handshakeMs: policy.gateway.timeouts.handshakeMs,
    };
    if (identity instanceof Promise) return identity.then((read) => this.#named(tenant, rules, read));
    return this.#named(tenant, rules, identity);
  }

  #named(tenant: Tenant, rules: ContextRules, identity: ServerIdentity | undefined): NamedContext {
    if (identity === undefined) throw new UnusableIdentityError('its certificates cannot be used');
    return { tenant, rules, identity, tls: this.#contextOf(identity, rules) };
  }

  #contextOf(identity: ServerIdentity, rules: ContextRules): TlsContext {
    let contexts = this.#contexts.get(identity);
    if (contexts === undefined) {
      contexts = new Map();
      this.#contexts.set(identity, contexts);
    }
    const key = keyOf(rules);
    const known = contexts.get(key);
    if (known !== undefined) return known;
    const context = new TlsContext(identity, rules, this.#ticketSecret);
    contexts.set(key, context);
    return context;
  }
}

function keyOf(rules: ContextRules): string {
  const { tenant, clientCertificates, minTlsVersion, sessionResumption, handshakeMs } = rules;
  return `${tenant} ${clientCertificates} ${minTlsVersion} ${sessionResumption} ${handshakeMs}`;
}
