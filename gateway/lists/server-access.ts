/** How to connect to etcd or Redis: the settings in the policy, and the current contents of the files they name. */

import type { PolicyFault } from '../core/fault.ts';
import type { ClientTls } from '../sources/client-tls.ts';

/** The settings in the policy. Paths are absolute, and the files are followed. */
export interface ServerAccess {
  readonly server: 'etcd' | 'redis';
  /** If absent, the connection is not encrypted. */
  readonly tls?: ClientTls;
  /** If absent, no user in etcd, and the default user in Redis. */
  readonly user?: string;
  readonly passwordFile?: string;
}

/** The contents of the files; the same object until one of them changes. */
export interface Access {
  /** For `tls.connect`, PEM. */
  readonly tls?: {
    readonly ca?: string[];
    readonly cert?: string;
    readonly key?: string;
    readonly servername?: string;
    readonly minVersion: ClientTls['minTlsVersion'];
  };
  readonly user?: string;
  readonly password?: string;
}

/** Returns the current access, or a promise of it; undefined until the files have once been free of faults. */
export type FindAccess = (access: ServerAccess) => Access | Promise<Access | undefined> | undefined;

/** Provides access to servers, and follows their files. */
export interface Accesses {
  readonly find: FindAccess;
  readonly faults: readonly PolicyFault[];
  /** Stops following the files of all others. */
  retain(used: readonly ServerAccess[]): void;
  close(): void;
}

/** Resolves to undefined if no access is configured. Rejects while the files cannot be used. */
export async function accessTo(
  access: ServerAccess | undefined,
  find: FindAccess | undefined,
): Promise<Access | undefined> {
  if (access === undefined) return undefined;
  const found = await find?.(access);
  if (found === undefined) throw new Error('its TLS or password files cannot be used');
  return found;
}
