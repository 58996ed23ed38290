/** The texts of tenants in etcd: followed, kept while it is away, read by whoever loads the policy. */

import { isDeepStrictEqual } from 'node:util';
import { fileFault, type PolicyFault } from '../core/fault.ts';
import type { EtcdKeys } from '../lists/etcd-keys.ts';
import type { EtcdAddress } from '../lists/etcd-server.ts';
import type { FindAccess } from '../lists/server-access.ts';
import type { TenantText, Text } from './policy-files.ts';

/** Writes that come together are one reload, and a stream of them one a second at most. */
const SETTLE_MS = 100;
const MAX_SETTLE_MS = 1000;
/** Nobody waits longer for the first answer. */
const FIRST_ANSWER_MS = 5000;
/** Keys that are no tenant's, told one by one. */
const MAX_STRAYS = 20;
const FILE_NAME = /^[a-z][a-z0-9-]{0,62}\.yaml$/;
const SHOWN_CHARACTERS = 200;

/** Where tenants are looked for. */
export interface EtcdPlace {
  readonly at: EtcdAddress;
  /** Their prefix. */
  readonly tenants: string;
}

/** What etcd has at one revision, as far as it was read. */
export interface EtcdTexts {
  /** In the order of their keys. */
  readonly texts: readonly TenantText[];
  /** False while it was never read: then there may be others, which nobody knows. */
  readonly isRead: boolean;
  /** Keys that are no tenant's. */
  readonly faults: readonly PolicyFault[];
}

export interface EtcdTenantsOptions {
  /** `once`: etcd is not asked. */
  readonly mode: 'follow' | 'once';
  /** Hears that etcd cannot be read, each time for another reason, and that it was read (again). */
  readonly onState?: ((state: EtcdState) => void) | undefined;
  /** For an etcd that is not reached without. */
  readonly findAccess?: FindAccess | undefined;
}

/** What is known of the source itself. */
export interface EtcdState {
  readonly place: string;
  /** Of etcd, where the texts are from; 0 before the first. */
  readonly revision: number;
  readonly isRead: boolean;
  /** Why the texts are not what etcd has now. */
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

  /** What is there now, followed from now on; what was followed elsewhere is left. */
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

  /** Calls back when etcd has other texts than were read, also when that came about before this call. */
  subscribe(onChange: () => void): void {
    this.#onChange = onChange;
    if (this.#hasChanged) onChange();
  }

  /** Absent where no tenants are looked for in etcd. */
  get state(): EtcdState | undefined {
    return this.#followed?.state;
  }

  /** False until they were read once: a gateway that took the place of others before would refuse their callers. */
  get isReady(): boolean {
    return this.state?.isRead !== false;
  }

  get faults(): readonly PolicyFault[] {
    const { place = '', fault } = this.state ?? {};
    return fault === undefined ? [] : [fileFault(place, fault)];
  }

  /** The prefix that was not looked at. */
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
  /** Settled when it was read once, or could not be for now. */
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

  /** The client of etcd loads when there is an etcd. */
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
      else strays.push(fileFault(place, "this key is no tenant's", `${prefix}<tenant>.yaml`));
    }
    const more = strays.length - MAX_STRAYS;
    const faults = strays.slice(0, MAX_STRAYS);
    if (more > 0) faults.push(fileFault(`etcd ${prefix}`, `and ${more} more keys that are no tenant's`));
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
    return { problem: 'is no text in UTF-8' };
  }
}

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** A key may be any bytes, and a million of them. */
function shown(key: string): string {
  const text = key.slice(0, SHOWN_CHARACTERS);
  return JSON.stringify(text).slice(1, -1) + (key.length > SHOWN_CHARACTERS ? '…' : '');
}

function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}
