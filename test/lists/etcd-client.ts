/** Writes to a real etcd as tests need it: keys, transactions, compactions. */

import type { Test } from 'tap';
import { type RunningServer, startEtcd, until } from './servers.ts';

export interface EtcdClient {
  readonly endpoint: string;
  readonly server: RunningServer;
  /** The revision of the write. */
  put(key: string, value: string | Uint8Array): Promise<number>;
  remove(key: string): Promise<number>;
  /** Writes all of them in one revision. */
  putTogether(values: Readonly<Record<string, string>>): Promise<number>;
  compact(revision: number): Promise<void>;
  /** Sends any other request and returns the answer; after `as` in the name of that user. */
  ask(path: string, body: object): Promise<object>;
  as(name: string, password: string): Promise<void>;
}

/** An etcd that accepts writes, which it does a moment after it listens. Options as for `startEtcd`. */
export async function etcdFor(
  t: Test,
  options: readonly string[] = [],
  urls: readonly string[] = [],
): Promise<EtcdClient> {
  const server = await startEtcd(t, options, urls);
  const client = clientOf(server);
  await until(() =>
    client.put('/ready', 'x').then(
      () => true,
      () => false,
    ),
  );
  return client;
}

interface Answer {
  readonly header?: { readonly revision: string };
  readonly token?: string;
}

export function clientOf(server: RunningServer): EtcdClient {
  const endpoint = `http://127.0.0.1:${server.port}`;
  let token: string | undefined;
  const send = async (path: string, body: object): Promise<Answer> => {
    const headers = token === undefined ? {} : { authorization: token };
    const response = await fetch(`${endpoint}/v3/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers,
    });
    const answer = (await response.json()) as Answer;
    if (answer.header === undefined) throw new Error(JSON.stringify(answer));
    return answer;
  };
  const ask = async (path: string, body: object): Promise<number> =>
    Number((await send(path, body)).header?.revision);
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
    ask: send,
    as: async (name, password) => {
      token = undefined;
      token = (await send('auth/authenticate', { name, password })).token;
    },
    compact: async (revision) => void (await ask('kv/compaction', { revision, physical: true })),
  };
}

const encode = (value: string | Uint8Array): string => Buffer.from(value).toString('base64');
