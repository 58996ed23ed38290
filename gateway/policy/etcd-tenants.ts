/** Tenant texts in etcd: follows them, and keeps the last ones while etcd cannot be reached. */

import { isDeepStrictEqual } from 'node:util';
import { fileFault, type PolicyFault } from '../core/fault.ts';
import type { EtcdKeys } from '../lists/etcd-keys.ts';
import type { EtcdAddress } from '../lists/etcd-server.ts';
import type { FindAccess } from '../lists/server-access.ts';
import type { TenantText, Text } from './policy-files.ts';

/** Writes in quick succession cause one reload; a steady stream of them causes at most one a second. */
const SETTLE_MS = 100;
const MAX_SETTLE_MS = 1000;
/** Limit on the wait for the first answer. */
const FIRST_ANSWER_MS = 5000;
/** Limit on the keys outside the naming scheme that are reported one by one. */
const MAX_STRAYS = 20;
const FILE_NAME = /^[a-z][a-z0-9-]{0,62}\.yaml$/;
const SHOWN_CHARACTERS = 200;

export interface EtcdPlace {
  readonly at: EtcdAddress;
  /** Key prefix; ends with `/`. */
  readonly tenants: string;
}

/** The tenant texts at one revision of etcd, as last read. */
export interface EtcdTexts {
  /** Sorted by key. */
  readonly texts: readonly TenantText[];
  /** False until the first read: etcd may hold tenants that are not known yet. */
  readonly isRead: boolean;
  /** Keys below the prefix that are not `<tenant>.yaml`. */
  readonly faults: readonly PolicyFault[];
}

export interface EtcdTenantsOptions {
  /** `once`: etcd is not contacted. */
  readonly mode: 'follow' | 'once';
  /** Called when etcd has been read, and when reading fails; not again for the same reason in a row. */
  readonly onState?: ((state: EtcdState) => void) | undefined;
  /** Finds the credentials and TLS files of an etcd that needs them. */
  readonly findAccess?: FindAccess | undefined;
}

/** The state of etcd as a source of tenants. */
export interface EtcdState {
  readonly place: string;
  /** The etcd revision of the texts; 0 before the first read. */
  readonly revision: number;
  readonly isRead: boolean;
  /** Why the texts may be out of date. */
  readonly fault?: string;
}

const NOTHING: EtcdTexts = { texts: [], isRead: true, faults: [] };

export class EtcdTenants {
  readonly #options: EtcdTenantsOptions;
  #followed: FollowedPlace | undefined;
  #unasked: string | undefined;
  #hasChanged = false;
  #onChange: (() => void) | undefined;

  constructor(options: EtcdTenantsOptions) {
    this.#options = options;
  }

  /** Returns the texts at `place` and follows them from now on; stops following any other place. */
  async read(place: EtcdPlace | undefined): Promise<EtcdTexts> {
    if (place === undefined || this.#options.mode === 'once') {
      this.#unasked = place?.tenants;
      this.close();
      return NOTHING;
    }
    const followed = this.#at(place);
    await followed.tried;
    this.#hasChanged = false;
    return followed.texts();
  }

  /** Calls `onChange` when etcd has changed since the last `read`; at once if it changed before this call. */
  subscribe(onChange: () => void): void {
    this.#onChange = onChange;
    if (this.#hasChanged) onChange();
  }

  /** Undefined if no tenants are read from etcd. */
  get state(): EtcdState | undefined {
    return this.#followed?.state;
  }

  /** False until the first read: a gateway that replaced another one earlier would refuse these tenants' callers. */
  get isReady(): boolean {
    return this.state?.isRead !== false;
  }

  get faults(): readonly PolicyFault[] {
    const { place = '', fault } = this.state ?? {};
    return fault === undefined ? [] : [fileFault(place, fault)];
  }

  /** The prefix that was not read in mode `once`. */
  get unasked(): string | undefined {
    return this.#unasked;
  }

  close(): void {
    this.#followed?.stop();
    this.#followed = undefined;
  }

  #at(place: EtcdPlace): FollowedPlace {
    if (this.#followed?.isAt(place)) return this.#followed;
    this.close();
    const followed = new FollowedPlace(place, this.#options.findAccess, (kind) => {
      if (this.#followed !== followed) return;
      this.#options.onState?.(followed.state);
      if (kind === 'fault') return;
      this.#hasChanged = true;
      this.#onChange?.();
    });
    this.#followed = followed;
    return followed;
  }
}

/** One prefix of one etcd. */
class FollowedPlace {
  readonly #place: EtcdPlace;
  #keys: EtcdKeys<Text> | undefined;
  #isStopped = false;
  /** Resolves after the first read, its failure, or `FIRST_ANSWER_MS`. */
  readonly tried: Promise<void>;
  #values: ReadonlyMap<string, Text> | undefined;
  #revision = 0;
  #fault: string | undefined;

  constructor(
    place: EtcdPlace,
    findAccess: FindAccess | undefined,
    onNews: (kind: 'texts' | 'fault') => void,
  ) {
    this.#place = place;
    this.tried = Promise.race([this.#follow(findAccess, onNews), afterMs(FIRST_ANSWER_MS)]);
  }

  /** Loads the etcd client only if an etcd is configured. */
  async #follow(
    findAccess: FindAccess | undefined,
    onNews: (kind: 'texts' | 'fault') => void,
  ): Promise<void> {
    const { EtcdKeys } = await import('../lists/etcd-keys.ts');
    const { EtcdServer } = await import('../lists/etcd-server.ts');
    if (this.#isStopped) return;
    const { at, tenants } = this.#place;
    this.#keys = new EtcdKeys<Text>({
      server: new EtcdServer(at, findAccess),
      firstKey: tenants,
      prefix: tenants,
      read: textOf,
      settleMs: SETTLE_MS,
      mostSettleMs: MAX_SETTLE_MS,
    });
    await this.#keys.start({
      onKeys: (values, revision) => {
        this.#values = values;
        this.#revision = revision;
        this.#fault = undefined;
        onNews('texts');
      },
      onFault: (problem) => {
        if (problem === this.#fault) return;
        this.#fault = problem;
        onNews('fault');
      },
    });
  }

  get state(): EtcdState {
    return {
      place: `etcd ${this.#place.tenants}`,
      revision: this.#revision,
      isRead: this.#values !== undefined,
      ...(this.#fault !== undefined && { fault: this.#fault }),
    };
  }

  isAt(place: EtcdPlace): boolean {
    return isDeepStrictEqual(place, this.#place);
  }

  texts(): EtcdTexts {
    const prefix = this.#place.tenants;
    const texts: TenantText[] = [];
    const strays: PolicyFault[] = [];
    for (const [key, text] of [...(this.#values ?? [])].sort(byKey)) {
      const fileName = key.slice(prefix.length);
      const place = `etcd ${prefix}${shown(fileName)}`;
      if (FILE_NAME.test(fileName)) texts.push({ place, fileName, text });
      else strays.push(fileFault(place, 'is not the key of a tenant', `${prefix}<tenant>.yaml`));
    }
    const more = strays.length - MAX_STRAYS;
    const faults = strays.slice(0, MAX_STRAYS);
    if (more > 0)
      faults.push(fileFault(`etcd ${prefix}`, `and ${more} more keys that do not belong to a tenant`));
    return { texts, isRead: this.#values !== undefined, faults };
  }

  stop(): void {
    this.#isStopped = true;
    this.#keys?.stop();
  }
}

const strict = new TextDecoder('utf-8', { fatal: true });

function textOf(bytes: Buffer): Text {
  try {
    return strict.decode(bytes);
  } catch {
    return { problem: 'is not valid UTF-8' };
  }
}

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** Escapes and shortens a key, which may hold any bytes and be very long. */
function shown(key: string): string {
  const text = key.slice(0, SHOWN_CHARACTERS);
  return JSON.stringify(text).slice(1, -1) + (key.length > SHOWN_CHARACTERS ? '…' : '');
}

function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}
