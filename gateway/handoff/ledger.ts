/** What one data plane has been sent, and what to send next: the difference, so that the latest state wins. */

import type { KeyNews, RemoteKeySet } from '../keys/key-set.ts';
import type { RegisteredList } from '../lists/list-registry.ts';
import type { LiveContents } from '../lists/live-list.ts';
import type { GatewaySettings } from '../policy/gateway-settings.ts';
import type { Policy } from '../policy/policy.ts';
import type { PolicySources } from '../policy/sources.ts';
import type { PolicyHead } from './data-end.ts';
import { listIdOf } from './handed-lists.ts';
import type { Outgoing } from './identity-desk.ts';
import { formNameOf, formOf } from './list-forms.ts';
import type { CompiledForms } from './policy-forms.ts';

export interface LedgerOptions {
  /** The policy in force now. */
  readonly policy: () => Policy;
  readonly forms: CompiledForms;
  readonly sources: PolicySources;
}

interface ToldList {
  readonly contents: LiveContents | undefined;
  readonly isCurrent: boolean;
}

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #lists = new Map<string, ToldList>();
  readonly #keys = new Map<string, KeyNews>();
  /** Tenants of the last policy sent: digests by name. */
  #tenants: ReadonlyMap<string, string> = new Map();
  /** Tenants sent ahead of their policy: digests by name. */
  readonly #ahead = new Map<string, Set<string>>();
  #settings: GatewaySettings | undefined;
  #policy: Policy | undefined;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /**
   * Everything that differs, ordered so that a policy comes after everything it depends on. A policy that is replaced
   * in the meantime is not sent: its lists may already be gone.
   */
  *differences(): Generator<Outgoing, void, void> {
    const policy = this.#options.policy();
    for (const registered of this.#options.sources.lists.registered) yield* this.#list(registered);
    for (const id of this.#options.sources.keys.sets.keys()) yield* this.keys(id);
    if (policy !== this.#policy) yield* this.#policyParts(policy);
    if (policy === this.#options.policy()) yield* this.#gone();
  }

  /** The keys of a set, if they differ from what was sent last. */
  *keys(id: string): Generator<Outgoing, void, void> {
    const set = this.#options.sources.keys.sets.get(id);
    if (set === undefined || set.news === this.#keys.get(id)) return;
    this.#keys.set(id, set.news);
    yield keysParcel(id, set);
  }

  *#list({ reader, key, list }: RegisteredList): Generator<Outgoing, void, void> {
    const form = formNameOf(reader);
    const id = listIdOf(form, key);
    const { place, contents, isCurrent } = list;
    const told = this.#lists.get(id);
    const isSame = told?.contents === contents;
    if (told !== undefined && isSame && told.isCurrent === isCurrent) return;
    this.#lists.set(id, { contents, isCurrent });
    const has = contents === undefined ? 'nothing' : isSame ? 'same' : 'contents';
    const packed = has === 'contents' && contents !== undefined && formOf(form).pack(contents);
    const about = { kind: 'list', id, form, place, isCurrent, has } as const;
    yield { about, parcel: packed || { head: undefined, columns: [] } };
  }

  *#policyParts(policy: Policy): Generator<Outgoing, void, void> {
    const { forms, policy: inForce } = this.#options;
    for (const tenant of policy.tenants.values()) {
      const { name, digest } = tenant;
      if (this.#tenants.get(name) === digest || this.#ahead.get(name)?.has(digest)) continue;
      this.#ahead.set(name, (this.#ahead.get(name) ?? new Set()).add(digest));
      yield { about: { kind: 'tenant', name, digest }, parcel: forms.of(tenant) };
      if (policy !== inForce()) return;
    }
    const { generation, digest, loadedAtMs, gateway } = policy;
    const tenants = [...policy.tenants.values()].map((tenant) => [tenant.name, tenant.digest] as const);
    const form = gateway === this.#settings ? undefined : forms.of(gateway);
    const head: PolicyHead = {
      generation,
      digest,
      loadedAtMs,
      tenants,
      ...(form !== undefined && { gateway: form }),
    };
    this.#policy = policy;
    this.#settings = gateway;
    this.#tenants = new Map(tenants);
    this.#ahead.clear();
    yield { about: { kind: 'policy' }, parcel: { head, columns: [] } };
  }

  /** The lists and key sets that no policy names any more. */
  *#gone(): Generator<Outgoing, void, void> {
    const { lists, keys } = this.#options.sources;
    const known = new Set([...lists.registered].map(({ reader, key }) => listIdOf(formNameOf(reader), key)));
    const gone = {
      lists: [...this.#lists.keys()].filter((id) => !known.has(id)),
      keys: [...this.#keys.keys()].filter((id) => !keys.sets.has(id)),
    };
    if (gone.lists.length + gone.keys.length === 0) return;
    for (const id of gone.lists) this.#lists.delete(id);
    for (const id of gone.keys) this.#keys.delete(id);
    yield { about: { kind: 'gone', ...gone }, parcel: { head: undefined, columns: [] } };
  }
}

function keysParcel(id: string, { settings, news: { keys, fetchedMs, fault } }: RemoteKeySet): Outgoing {
  const about = {
    kind: 'keys',
    id,
    ...settings,
    ...(keys !== undefined && { ageMs: Math.max(0, performance.now() - fetchedMs) }),
    ...(fault !== undefined && { fault }),
  } as const;
  return { about, parcel: { head: keys?.text, columns: [] } };
}
