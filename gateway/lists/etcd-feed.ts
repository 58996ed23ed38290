/** A list in etcd: the value of a key, with one entry per line, or one key per entry below it. */

import { EtcdKeys } from './etcd-keys.ts';
import type { EtcdServer } from './etcd-server.ts';
import type { Feed, FeedListener } from './live-list.ts';

/** Events in quick succession cause one rebuild. */
const SETTLE_MS = 20;

export class EtcdFeed implements Feed {
  readonly place: string;
  readonly #key: string;
  readonly #below: string;
  readonly #keys: EtcdKeys<string>;

  constructor(server: EtcdServer, key: string) {
    this.place = `etcd ${key}`;
    this.#key = key;
    this.#below = key.endsWith('/') ? key : `${key}/`;
    this.#keys = new EtcdKeys({
      server,
      firstKey: key,
      prefix: this.#below,
      read: (bytes) => bytes.toString('utf8'),
      settleMs: SETTLE_MS,
      mostSettleMs: SETTLE_MS,
    });
  }

  start(listener: FeedListener): Promise<void> {
    return this.#keys.start({
      onKeys: (values) => this.#tell(values, listener),
      onFault: (problem) => listener.onFault(problem),
    });
  }

  stop(): void {
    this.#keys.stop();
  }

  #tell(values: ReadonlyMap<string, string>, listener: FeedListener): void {
    const whole = values.get(this.#key);
    if (whole !== undefined && values.size === 1) listener.onSnapshot({ kind: 'text', text: whole });
    else listener.onSnapshot({ kind: 'keyed', entries: this.#keyed(values) });
  }

  /** An entry is the value of its key, or its name if the value is empty or only an option: `10.0.0.0/8`, `until=…`. */
  #keyed(values: ReadonlyMap<string, string>): Map<string, string> {
    const entries = new Map<string, string>();
    for (const [key, value] of values) {
      if (key === this.#key) {
        for (const [index, line] of value.split('\n').entries()) entries.set(`line ${index + 1}`, line);
        continue;
      }
      const name = key.slice(this.#below.length);
      const aside = value.trim() === '' || /^\s*(?:until=|#)/.test(value);
      entries.set(name, aside ? `${name} ${value}` : value);
    }
    return entries;
  }
}
