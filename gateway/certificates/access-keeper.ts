/** The credentials the gateway presents to etcd and Redis: certificates and passwords, read on demand and on change. */

import { hash } from 'node:crypto';
import { formatFault, type PolicyFault } from '../core/fault.ts';
import type { Access, Accesses, ServerAccess } from '../lists/server-access.ts';
import type { Log } from '../observe/log.ts';
import type { ClientTls } from '../sources/client-tls.ts';
import { FileWatch } from '../sources/file-watch.ts';
import { clientExpiries, type Expiry } from './expiries.ts';
import { type IdentityReading, type IdentitySource, IdentityStore } from './identity-store.ts';
import { type ClientIdentity, clientFiles, readClientIdentity } from './node-identity.ts';
import { PemFiles } from './pem-files.ts';

/** The credentials for one server; `digest` covers all that is presented to it. */
export interface AccessIdentity extends Access {
  readonly server: ServerAccess['server'];
  readonly digest: string;
  readonly identity: ClientIdentity;
}

const MAX_PASSWORD = 4096;

export class AccessKeeper implements Accesses {
  readonly #log: Log | undefined;
  readonly #watch = new FileWatch();
  readonly #store: IdentityStore<AccessIdentity>;

  constructor(log?: Log) {
    this.#log = log;
    this.#store = new IdentityStore({
      watch: this.#watch,
      capacity: () => Number.POSITIVE_INFINITY,
      onReading: (reading) => this.#onReading(reading),
    });
  }

  readonly find = (access: ServerAccess): ReturnType<Accesses['find']> =>
    this.#store.get(accessSource(access));

  get faults(): readonly PolicyFault[] {
    return this.#store.faults;
  }

  /** When the certificates presented, and the authorities trusted, expire. */
  get expiries(): readonly Expiry[] {
    return this.#store.loaded.flatMap(({ server, identity }) => clientExpiries(server, identity));
  }

  retain(used: readonly ServerAccess[]): void {
    this.#store.retain(new Set(used.map((access) => accessSource(access).key)));
  }

  close(): void {
    this.#store.close();
    this.#watch.close();
  }

  #onReading({ label: server, outcome, faults }: IdentityReading): void {
    for (const fault of faults)
      this.#log?.error({ server, fault: formatFault(fault) }, 'credentials for a server cannot be used');
    if (outcome !== 'faulty') this.#log?.info({ server, outcome }, 'credentials for a server loaded');
  }
}

/** How to read the files of one server. */
export function accessSource(access: ServerAccess): IdentitySource<AccessIdentity> {
  const { server, tls, passwordFile } = access;
  const paths = tls === undefined ? new Map() : clientFiles(tls);
  return {
    key: JSON.stringify(access),
    label: server,
    files: () => [...paths.values(), ...(passwordFile === undefined ? [] : [passwordFile])],
    async read(nowMs) {
      const identity = await readClientIdentity(paths, nowMs);
      const password = passwordFile === undefined ? undefined : await readPassword(passwordFile);
      const faults = [identity, password].flatMap((read) => (Array.isArray(read) ? read : []));
      if (!('digest' in identity) || typeof password === 'object') return faults;
      return {
        server,
        identity,
        digest: hash('sha256', JSON.stringify([identity.digest, password])),
        ...(tls !== undefined && { tls: tlsOf(tls, identity) }),
        ...(access.user !== undefined && { user: access.user }),
        ...(password !== undefined && { password }),
      };
    },
  };
}

function tlsOf(
  { serverName, minTlsVersion }: ClientTls,
  { authorities, key }: ClientIdentity,
): NonNullable<Access['tls']> {
  return {
    ...(authorities !== undefined && { ca: authorities.map((each) => each.toString()) }),
    ...(key !== undefined && { cert: key.chainPem, key: key.keyPem }),
    ...(serverName !== undefined && { servername: serverName }),
    minVersion: minTlsVersion,
  };
}

/** Reads a password of one line, without the line end. */
async function readPassword(path: string): Promise<string | readonly PolicyFault[]> {
  const files = await PemFiles.read(new Map([['password', path]]), ['password']);
  const text = files.text('password');
  if (text === undefined) return files.faults;
  const password = text.replace(/\r?\n$/, '');
  const isOne = password !== '' && password.length <= MAX_PASSWORD && !/[\r\n]/.test(password);
  if (isOne) return password;
  files.fault('password', 'holds no password', `one line of at most ${MAX_PASSWORD} characters`);
  return files.faults;
}
