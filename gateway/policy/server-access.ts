/** Compiles how to reach etcd and Redis from `gateway.yaml`, and finds the settings that cannot work. */

import type { PolicyFault } from '../core/fault.ts';
import type { ServerAccess } from '../lists/server-access.ts';
import { clientTlsFaults, compileClientTls } from './client-tls.ts';
import type { ClientTlsFile } from './client-tls-file.ts';
import type { Places } from './places.ts';

/** The keys written beside the address of a server. */
interface AccessFile {
  readonly tls?: ClientTlsFile | undefined;
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
}

interface EtcdFile extends AccessFile {
  readonly endpoints: readonly string[];
}

interface RedisFile extends AccessFile {
  /** The URL of Redis. */
  readonly redis: string;
}

type Server = ServerAccess['server'];

const isSecure = (url: string): boolean => /^(?:https|rediss):/.test(url);

/** Returns undefined if etcd is reached without TLS and without a password. */
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
    faults.push(places.at(at, 'has only one of user and passwordFile', 'both or neither'));
  return faults;
}

export function redisFaults(places: Places, file: RedisFile): readonly PolicyFault[] {
  const at = ['gateway', 'state'];
  const { redis, user, passwordFile } = file;
  const faults = [...tlsFaults(places, at, file, isSecure(redis), 'rediss://host:port')];
  if (user !== undefined && passwordFile === undefined)
    faults.push(places.at(at, 'has user without passwordFile', 'both'));
  const { username, password } = new URL(redis);
  if (passwordFile !== undefined && username + password !== '')
    faults.push(
      places.at(
        [...at, 'redis'],
        'contains a user or password, but passwordFile is set',
        'only one of the two',
      ),
    );
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

/** Unused TLS settings would suggest a protection that does not exist. */
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
    ...(secure ? [] : [places.at(at, 'the address of the server does not use TLS', expected)]),
    ...clientTlsFaults(places, at, tls),
  ];
}
