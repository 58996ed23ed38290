/** The sources a policy follows besides its own files: tenants in etcd, lists, and the keys of token issuers. */

import type { PolicyFault } from '../core/fault.ts';
import { KeyRegistry, type KeyWatcher, type RemoteKeys } from '../keys/key-registry.ts';
import type { KeySet } from '../keys/key-set.ts';
import { ListRegistry, type ListRegistryOptions, type ListsByReader } from '../lists/list-registry.ts';
import type { ListPart } from '../lists/live-list.ts';
import type { Accesses } from '../lists/server-access.ts';
import { type EtcdState, EtcdTenants } from './etcd-tenants.ts';
import { accessesOf } from './gateway-settings.ts';
import type { Policy } from './policy.ts';

export interface PolicySourcesOptions {
  /** `once`: files are read once, and no server is contacted; lists on servers count as empty. */
  readonly mode: 'follow' | 'once';
  /** Called when the contents or the faults of a list change. */
  readonly onList?: ListRegistryOptions['onChange'];
  /** Called with a problem that is not a fault of the list itself. */
  readonly onListWarning?: ListRegistryOptions['onWarning'];
  readonly keys?: KeyWatcher;
  /** Called when the tenants in etcd have been read, or cannot be read. */
  readonly onTenants?: (state: EtcdState) => void;
  /** Credentials and TLS files of the servers; closed by `close`. */
  readonly accesses?: Accesses;
}

/** Where a policy being compiled gets its lists and keys from. */
export interface SourcesOfPolicy {
  readonly mode: 'follow' | 'once';
  readonly lists: ListsByReader;
  readonly keys: RemoteKeys;
}

/** Outlives policies: a source that two successive policies share is followed without a break. */
export class PolicySources implements SourcesOfPolicy {
  readonly mode: 'follow' | 'once';
  readonly lists: ListRegistry;
  readonly keys: KeyRegistry;
  readonly tenants: EtcdTenants;

  readonly #accesses: Accesses | undefined;

  constructor({ mode, onList, onListWarning, keys, onTenants, accesses }: PolicySourcesOptions) {
    const findAccess = accesses?.find;
    this.mode = mode;
    this.#accesses = accesses;
    this.tenants = new EtcdTenants({ mode, findAccess, onState: onTenants });
    this.lists = new ListRegistry({
      mode,
      findAccess,
      ...(onList !== undefined && { onChange: onList }),
      ...(onListWarning !== undefined && { onWarning: onListWarning }),
    });
    this.keys = new KeyRegistry(mode, keys);
  }

  /** Stops following everything that this policy does not use. */
  retain(policy: Policy): void {
    const tenants = [...policy.tenants.values()];
    const keys = tenants.flatMap(({ issuers }) => issuers.map((issuer) => issuer.keys));
    const lists = tenants.flatMap(({ lists: addresses, revocation }): ListPart<unknown>[] => [
      ...[...addresses.values()].flatMap(({ parts }) => parts),
      ...revocation.certificates.parts,
      ...revocation.tokens.parts,
    ]);
    this.#accesses?.retain(accessesOf(policy.gateway));
    this.keys.retain(new Set(keys));
    this.lists.retain(new Set([...lists, ...keys.flatMap(({ list }: KeySet) => list ?? [])]));
  }

  /** Why lists, key files, access files and the tenants in etcd are not up to date with their sources. */
  get faults(): readonly PolicyFault[] {
    return [...(this.#accesses?.faults ?? []), ...this.tenants.faults, ...this.lists.faults];
  }

  /** One sentence for each source on a server that was not contacted, in mode `once`. */
  get unasked(): readonly string[] {
    const { unasked } = this.tenants;
    return [
      ...(unasked === undefined ? [] : [`etcd ${unasked}: its tenants are skipped, no server is contacted`]),
      ...this.lists.unasked.map((place) => `${place}: treated as empty, no server is contacted`),
    ];
  }

  /** Checks files for changes now, instead of waiting for notifications; resolves when they are read. */
  refresh(): Promise<void> {
    return this.lists.refresh();
  }

  close(): void {
    this.keys.close();
    this.tenants.close();
    this.lists.close();
    this.#accesses?.close();
  }
}
