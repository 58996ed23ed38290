/** The lists of a policy by their sources: the same source is one list, whoever names it and however often. */

import type { PolicyFault } from '../core/fault.ts';
import { FileWatch } from '../sources/file-watch.ts';
import { FileFeed } from './file-feed.ts';
import { type Feed, LiveList } from './live-list.ts';

/** Where a list comes from; paths are absolute. */
export type ListSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'etcd'; readonly endpoints: readonly string[]; readonly key: string }
  | { readonly kind: 'redis'; readonly url: string; readonly key: string };

export interface ListRegistryOptions {
  /** `once`: files are read and nothing is followed, no other server is asked. */
  readonly mode: 'follow' | 'once';
  /** Hears of every change of a list and of what is wrong with it. */
  readonly onChange?: (list: LiveList) => void;
}

export class ListRegistry {
  readonly #options: ListRegistryOptions;
  readonly #watch: FileWatch | undefined;
  readonly #lists = new Map<string, LiveList>();

  constructor(options: ListRegistryOptions) {
    this.#options = options;
    this.#watch = options.mode === 'follow' ? new FileWatch() : undefined;
  }

  /** The list of a source, followed from now on. */
  async list(source: ListSource): Promise<LiveList> {
    const key = keyOf(source);
    const known = this.#lists.get(key);
    if (known !== undefined) return known;
    const feed = await this.#feedOf(source);
    const { onChange } = this.#options;
    const list = this.#lists.get(key) ?? new LiveList(feed, { ...(onChange !== undefined && { onChange }) });
    this.#lists.set(key, list);
    return list;
  }

  /** Ends every list whose source is not among these. */
  retain(lists: ReadonlySet<unknown>): void {
    for (const [key, list] of this.#lists) {
      if (lists.has(list)) continue;
      this.#lists.delete(key);
      list.close();
    }
  }

  /** Of every list that is not what its source has. */
  get faults(): readonly PolicyFault[] {
    return [...this.#lists.values()].flatMap(({ faults }) => faults);
  }

  /** Looks at files without waiting to hear of their change; resolves when they are read. */
  async refresh(): Promise<void> {
    await this.#watch?.lookNow();
    await Promise.all([...this.#lists.values()].map((list) => list.settled()));
  }

  close(): void {
    this.retain(new Set());
    this.#watch?.close();
  }

  /** The clients of the servers load when a list needs them. */
  async #feedOf(source: ListSource): Promise<Feed> {
    if (source.kind === 'file') return new FileFeed(source.path, this.#watch);
    if (this.#options.mode === 'once') return unread(source);
    if (source.kind === 'etcd') {
      const { EtcdFeed } = await import('./etcd-feed.ts');
      return new EtcdFeed(source.endpoints, source.key);
    }
    const { RedisFeed } = await import('./redis-feed.ts');
    return new RedisFeed(source.url, source.key);
  }
}

function unread({ kind, key }: Exclude<ListSource, { readonly kind: 'file' }>): Feed {
  return { place: `${kind} ${key}`, start: async () => undefined, stop: () => undefined };
}

function keyOf(source: ListSource): string {
  if (source.kind === 'file') return `file ${source.path}`;
  return source.kind === 'etcd'
    ? `etcd ${source.endpoints.join(',')} ${source.key}`
    : `redis ${source.url} ${source.key}`;
}
