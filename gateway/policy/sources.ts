/** What a policy follows beside its own files: tenants in etcd, lists, and the keys of token issuers. */

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
  /** `once`: files are read and nothing is followed; no server is asked, its lists count as empty. */
  readonly mode: 'follow' | 'once';
  /** Hears of every change of a list and of what is wrong with it. */
  readonly onList?: ListRegistryOptions['onChange'];
  /** Hears of what is no fault of a list and somebody should know. */
  readonly onListWarning?: ListRegistryOptions['onWarning'];
  readonly keys?: KeyWatcher;
  /** Hears how it stands with the tenants in etcd. */
  readonly onTenants?: (state: EtcdState) => void;
  /** For servers that are not reached without; closed with the rest. */
  readonly accesses?: Accesses;
}

/** Where a policy that is compiled has its lists and keys from. */
export interface SourcesOfPolicy {
  readonly mode: 'follow' | 'once';
  readonly lists: ListsByReader;
  readonly keys: RemoteKeys;
}

/** Outlives policies: what two of them name alike goes on from the one to the other. */
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

  /** Ends everything this policy does not name. */
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

  /** Of every list, every file of keys, and the tenants in etcd, that are not what their source has; and why not. */
  get faults(): readonly PolicyFault[] {
    return [...(this.#accesses?.faults ?? []), ...this.tenants.faults, ...this.lists.faults];
  }

  /** What is kept in other servers and was not asked for, a sentence each. */
  get unasked(): readonly string[] {
    const { unasked } = this.tenants;
    return [
      ...(unasked === undefined
        ? []
        : [`etcd ${unasked}: its tenants are not looked at, no server is asked`]),
      ...this.lists.unasked.map((place) => `${place}: taken as empty, no server is asked`),
    ];
  }

  /** Looks at files without waiting to hear of their change; resolves when they are read. */
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
