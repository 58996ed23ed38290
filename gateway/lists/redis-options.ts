/** What the client of Redis is given to reach it. */

import type { RedisOptions } from 'ioredis';
import { RedisTlsConnector } from './redis-connector.ts';
import type { Access } from './server-access.ts';

/** Beside the address of the server, which wins where it names a user or a password. */
export function accessOptions({
  tls,
  user,
  password,
}: Access = {}): Pick<RedisOptions, 'tls' | 'Connector' | 'username' | 'password'> {
  return {
    ...(tls !== undefined && { tls, Connector: RedisTlsConnector }),
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
  };
}
