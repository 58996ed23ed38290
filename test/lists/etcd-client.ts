/** Writes to a real etcd as tests need it: keys, transactions, compactions. */

import type { Test } from 'tap';
import { type RunningServer, startEtcd, until } from './servers.ts';

export interface EtcdClient {
  readonly endpoint: string;
  readonly server: RunningServer;
  /** The revision it made. */
  put(key: string, value: string | Uint8Array): Promise<number>;
  remove(key: string): Promise<number>;
  /** All of them in one revision. */
  putTogether(values: Readonly<Record<string, string>>): Promise<number>;
  compact(revision: number): Promise<void>;
}

/** An etcd that takes writes, which a member does a moment after it listens. */
export async function etcdFor(t: Test): Promise<EtcdClient> {
  const server = await startEtcd(t);
  const client = clientOf(server);
  await until(() =>
    client.put('/ready', 'x').then(
      () => true,
      () => false,
    ),
  );
  return client;
}

export function clientOf(server: RunningServer): EtcdClient {
  const endpoint = `http://127.0.0.1:${server.port}`;
  const ask = async (path: string, body: object): Promise<number> => {
    const response = await fetch(`${endpoint}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
    const answer = (await response.json()) as { readonly header?: { readonly revision: string } };
    if (answer.header === undefined) throw new Error(JSON.stringify(answer));
    return Number(answer.header.revision);
  };
  const pair = (key: string, value: string | Uint8Array) => ({ key: encode(key), value: encode(value) });
  return {
    endpoint,
    server,
    put: (key, value) => ask('kv/put', pair(key, value)),
    remove: (key) => ask('kv/deleterange', { key: encode(key) }),
    putTogether: (values) =>
      ask('kv/txn', {
        success: Object.entries(values).map(([key, value]) => ({ request_put: pair(key, value) })),
      }),
    compact: async (revision) => void (await ask('kv/compaction', { revision, physical: true })),
  };
}

const encode = (value: string | Uint8Array): string => Buffer.from(value).toString('base64');
