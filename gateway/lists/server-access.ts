/** How etcd or Redis is reached: what the policy says of it, and what its files hold at the moment. */

import type { PolicyFault } from '../core/fault.ts';
import type { ClientTls } from '../sources/client-tls.ts';

/** As the policy says it. Paths are absolute, and the files are followed. */
export interface ServerAccess {
  readonly server: 'etcd' | 'redis';
  /** Absent where it is spoken to in the clear. */
  readonly tls?: ClientTls;
  /** Absent for nobody in etcd, and for the default user of Redis. */
  readonly user?: string;
  readonly passwordFile?: string;
}

/** What its files hold. As long as they hold the same it is the same object. */
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

/** What is read now, or a promise of it; nothing while the files have never been without fault. */
export type FindAccess = (access: ServerAccess) => Access | Promise<Access | undefined> | undefined;

/** Where access is asked for. */
export interface Accesses {
  readonly find: FindAccess;
  /** What is wrong with the files. */
  readonly faults: readonly PolicyFault[];
  /** Forgets all but these. */
  retain(used: readonly ServerAccess[]): void;
  close(): void;
}

/** Resolves to nothing where none is needed. Rejects while the files cannot be used. */
export async function accessTo(
  access: ServerAccess | undefined,
  find: FindAccess | undefined,
): Promise<Access | undefined> {
  if (access === undefined) return undefined;
  const found = await find?.(access);
  if (found === undefined) throw new Error('the files of its access cannot be used');
  return found;
}
