/** The end of a handoff in the control plane: tells every data plane what is in force, and nothing it has already. */

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
  /** Have watched whenever a policy was compiled. */
  readonly forms: CompiledForms;
  readonly sources: PolicySources;
  readonly identities: {
    /** Makes no room by itself: what no data plane has any more is released here. */
    readonly servers: IdentityStore<ServerIdentity>;
    readonly nodes: IdentityStore<NodeIdentity>;
  };
  /** Of session tickets: 32 random bytes. */
  readonly ticketSecret: Buffer;
  /** A data plane said what nobody understands. */
  readonly onFault?: (fault: string) => void;
}

export class ControlEnd {
  readonly #options: ControlEndOptions;
  readonly #links = new Set<ControlLink>();
  /** In force now, and before: a data plane may not have the newer one yet. */
  #policies: readonly Policy[];
  /** Keys of server names that are kept although no data plane had them when it was looked last. */
  readonly #unused = new Set<string>();

  constructor(options: ControlEndOptions) {
    this.#options = options;
    this.#policies = [options.policy()];
  }

  /** Begins to tell a data plane; what it says goes to `receive` of the link, which is closed when it is gone. */
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

  /** Policy, lists, keys or certificates may be others than before. */
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

  /** What a data plane may ask for: identities of the policy, no others. */
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

  /** Those of nodes are kept for as long as the policy names them. */
  #onReleased(store: StoreName, key: string): void {
    if (store === 'servers') this.#releaseUnused(key);
  }

  /** A data plane may be gone against its will, and the next one ask for the same: the last good ones stay. */
  #releaseUnused(key: string): void {
    const isUsed = [...this.#links].some((link) => link.has('servers', key));
    const isKept = !isUsed && this.#isLastGood(key);
    if (isKept) this.#unused.add(key);
    else this.#unused.delete(key);
    if (!isUsed && !isKept) this.#options.identities.servers.release(key);
  }

  /** Of a name in the policy, whose files have faults now. */
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
