/** The control plane's end of a handoff: sends every data plane what is in force and what it does not have yet. */

import type { IdentitySource, IdentityStore } from '../certificates/identity-store.ts';
import { type NodeIdentity, nodeIdentitySource } from '../certificates/node-identity.ts';
import { type ServerIdentity, serverIdentitySource } from '../certificates/server-identity.ts';
import { asksForClients, type Policy } from '../policy/policy.ts';
import type { PolicySources } from '../policy/sources.ts';
import { ControlLink } from './control-link.ts';
import type { FoundIdentity, IdentitySupply } from './identity-desk.ts';
import { packNodeIdentity, packServerIdentity } from './identity-forms.ts';
import type { MessageSink, StoreName } from './messages.ts';
import type { Parcel } from './parcel.ts';
import type { CompiledForms } from './policy-forms.ts';

export interface ControlEndOptions {
  /** The policy in force now. */
  readonly policy: () => Policy;
  /** Must have watched every compilation of a policy. */
  readonly forms: CompiledForms;
  readonly sources: PolicySources;
  readonly identities: {
    /** Must not evict by itself: identities that no data plane has any more are released here. */
    readonly servers: IdentityStore<ServerIdentity>;
    readonly nodes: IdentityStore<NodeIdentity>;
  };
  /** The secret of session tickets: 32 random bytes. */
  readonly ticketSecret: Buffer;
  /** Called with what is wrong if a data plane sends an invalid message or cannot be sent to. */
  readonly onFault?: (fault: string) => void;
}

export class ControlEnd {
  readonly #options: ControlEndOptions;
  readonly #links = new Set<ControlLink>();
  /** The current policy and the one before: a data plane may not have the current one yet. */
  #policies: readonly Policy[];
  /** Keys of server identities kept although no data plane had them at the last check. */
  readonly #unused = new Set<string>();

  constructor(options: ControlEndOptions) {
    this.#options = options;
    this.#policies = [options.policy()];
  }

  /**
   * Begins to send to a data plane. Its messages go to `receive` of the returned link, which must be closed when the
   * data plane is gone.
   */
  attach(channel: MessageSink): ControlLink {
    const { policy, forms, sources, ticketSecret, onFault } = this.#options;
    const link: ControlLink = new ControlLink({
      channel,
      policy,
      forms,
      sources,
      ticketSecret,
      find: (store, label, key) => this.#find(store, label, key),
      onReleased: (store, key) => this.#onReleased(store, key),
      onClosed: () => this.#links.delete(link),
      onFault: (fault) => onFault?.(fault),
    });
    this.#links.add(link);
    link.look();
    return link;
  }

  /** Policy, lists, keys or certificates may have changed. */
  changed(): void {
    const policy = this.#options.policy();
    const [current] = this.#policies;
    if (policy !== current) this.#policies = current === undefined ? [policy] : [policy, current];
    for (const link of this.#links) link.look();
    for (const key of this.#unused) this.#releaseUnused(key);
  }

  close(): void {
    for (const link of this.#links) link.close();
  }

  /** A data plane may ask for identities of these policies only. */
  #find(store: StoreName, label: string, key: string): IdentitySupply | undefined {
    const { servers, nodes } = this.#options.identities;
    for (const policy of this.#policies) {
      if (store === 'servers') {
        const source = serverSource(policy, label);
        if (source?.key === key) return wanted(servers, source, packServerIdentity);
      } else {
        const source = nodeSource(policy, label);
        if (source?.key === key) return wanted(nodes, source, packNodeIdentity);
      }
    }
    return undefined;
  }

  /** Node identities are kept for as long as the policy names them. */
  #onReleased(store: StoreName, key: string): void {
    if (store === 'servers') this.#releaseUnused(key);
  }

  /** Last good identities stay: a data plane may have crashed, and its replacement asks for them again. */
  #releaseUnused(key: string): void {
    const isUsed = [...this.#links].some((link) => link.has('servers', key));
    const isKept = !isUsed && this.#isLastGood(key);
    if (isKept) this.#unused.add(key);
    else this.#unused.delete(key);
    if (!isUsed && !isKept) this.#options.identities.servers.release(key);
  }

  /** Whether the identity belongs to a name in the policy whose files have faults now. */
  #isLastGood(key: string): boolean {
    const { policy, identities } = this.#options;
    const identity = identities.servers.lastGood(key);
    return identity !== undefined && serverSource(policy(), identity.serverName)?.key === key;
  }
}

function serverSource(policy: Policy, serverName: string): IdentitySource<ServerIdentity> | undefined {
  const tenant = policy.serverNames.get(serverName);
  return (
    tenant && serverIdentitySource(policy.gateway.certificates, serverName, asksForClients(policy, tenant))
  );
}

/** `name`: `tenant/upstream`. */
function nodeSource({ tenants }: Policy, name: string): IdentitySource<NodeIdentity> | undefined {
  const slash = name.indexOf('/');
  const upstream = tenants.get(name.slice(0, slash))?.upstreams.get(name.slice(slash + 1));
  return upstream && nodeIdentitySource(upstream);
}

function wanted<Identity extends ServerIdentity | NodeIdentity>(
  store: IdentityStore<Identity>,
  source: IdentitySource<Identity>,
  pack: (identity: Identity) => Parcel,
): IdentitySupply {
  const found = (identity: Identity | undefined): FoundIdentity | undefined =>
    identity && { digest: identity.digest, pack: () => pack(identity) };
  return {
    peek: () => found(store.peek(source.key)),
    read: async () => found(await store.get(source)),
  };
}
