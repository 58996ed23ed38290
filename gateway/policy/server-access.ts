/** How etcd and Redis are reached, as `gateway.yaml` writes it: compiled, and what of it no server could use. */

import type { PolicyFault } from '../core/fault.ts';
import type { ServerAccess } from '../lists/server-access.ts';
import { clientTlsFaults, compileClientTls } from './client-tls.ts';
import type { ClientTlsFile } from './client-tls-file.ts';
import type { Places } from './places.ts';

/** As written beside the address of the server. */
interface AccessFile {
  readonly tls?: ClientTlsFile | undefined;
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
}

interface EtcdFile extends AccessFile {
  readonly endpoints: readonly string[];
}

interface RedisFile extends AccessFile {
  /** Its URL. */
  readonly redis: string;
}

type Server = ServerAccess['server'];

const isSecure = (url: string): boolean => /^(?:https|rediss):/.test(url);

/** Nothing where it is asked in the clear and as nobody. */
export function etcdAccess(places: Places, file: EtcdFile): ServerAccess | undefined {
  return compileAccess(places, 'etcd', file, file.endpoints.some(isSecure));
}

export function redisAccess(places: Places, file: RedisFile): ServerAccess | undefined {
  return compileAccess(places, 'redis', file, isSecure(file.redis));
}

export function etcdFaults(places: Places, file: EtcdFile): readonly PolicyFault[] {
  const at = ['gateway', 'etcd'];
  const { user, passwordFile } = file;
  const faults = [...tlsFaults(places, at, file, file.endpoints.some(isSecure), 'https://host:port')];
  if ((user === undefined) !== (passwordFile === undefined))
    faults.push(
      places.at(at, 'a user and the password stand together', 'both of user and passwordFile, or neither'),
    );
  return faults;
}

export function redisFaults(places: Places, file: RedisFile): readonly PolicyFault[] {
  const at = ['gateway', 'state'];
  const { redis, user, passwordFile } = file;
  const faults = [...tlsFaults(places, at, file, isSecure(redis), 'rediss://host:port')];
  if (user !== undefined && passwordFile === undefined)
    faults.push(places.at(at, 'a user without a password', 'passwordFile beside user'));
  const { username, password } = new URL(redis);
  if (passwordFile !== undefined && username + password !== '')
    faults.push(places.at([...at, 'redis'], 'names a user or password beside the file', 'one of the two'));
  return faults;
}

function compileAccess(
  places: Places,
  server: Server,
  { tls, user, passwordFile }: AccessFile,
  secure: boolean,
): ServerAccess | undefined {
  if (!secure && passwordFile === undefined) return undefined;
  const path = passwordFile === undefined ? undefined : places.pathOf(passwordFile);
  return {
    server,
    ...(secure && { tls: compileClientTls(places, tls) }),
    ...(user !== undefined && { user }),
    ...(path !== undefined && { passwordFile: path }),
  };
}

/** Keys for TLS that are not used give a false sense of it. */
function tlsFaults(
  places: Places,
  path: readonly string[],
  { tls }: AccessFile,
  secure: boolean,
  expected: string,
): readonly PolicyFault[] {
  if (tls === undefined) return [];
  const at = [...path, 'tls'];
  return [
    ...(secure ? [] : [places.at(at, 'the server is not spoken to over TLS', expected)]),
    ...clientTlsFaults(places, at, tls),
  ];
}
