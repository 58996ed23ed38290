/** Connection options for the Redis client. */

import type { RedisOptions } from 'ioredis';
import { RedisTlsConnector } from './redis-connector.ts';
import type { Access } from './server-access.ts';

/** Returns options to use with the server's URL; a user or password in the URL takes precedence. */
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
