/** The lists of a policy by their sources: the same source is one list, whoever names it and however often. */

import type { PolicyFault } from '../core/fault.ts';
import { FileWatch } from '../sources/file-watch.ts';
import type { EtcdAddress, EtcdServer } from './etcd-server.ts';
import { FileFeed } from './file-feed.ts';
import {
  type Feed,
  type FollowedList,
  type ListPart,
  type ListReader,
  type LiveContents,
  LiveList,
} from './live-list.ts';
import type { RedisAddress, RedisServer } from './redis-server.ts';
import type { FindAccess } from './server-access.ts';

/** Where a list comes from; paths are absolute. */
export type ListSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'etcd'; readonly at: EtcdAddress; readonly key: string }
  | { readonly kind: 'redis'; readonly at: RedisAddress; readonly key: string };

export interface ListRegistryOptions {
  /** `once`: files are read and nothing is followed; no other server is asked, its lists count as empty. */
  readonly mode: 'follow' | 'once';
  /** Hears of every change of a list and of what is wrong with it. */
  readonly onChange?: (list: FollowedList) => void;
  /** Hears of what is no fault of a list and somebody should know. */
  readonly onWarning?: (list: FollowedList, warning: string) => void;
  /** For servers that are not reached without; absent where none is asked. */
  readonly findAccess?: FindAccess | undefined;
}

/** A list by its source. */
export interface SourceList<Contents extends LiveContents> extends ListPart<Contents>, FollowedList {}

/** The lists of one kind. */
export interface SourceLists<Contents extends LiveContents> {
  /** The list of a source, followed from now on. */
  list(source: ListSource): Promise<SourceList<Contents>>;
}

/** The lists of every kind, by what reads them. */
export interface ListsByReader {
  of<Contents extends LiveContents>(reader: ListReader<Contents>): SourceLists<Contents>;
}

/** A list as it is registered: under its reader and the `sourceKey` of its source. */
export interface RegisteredList {
  readonly reader: unknown;
  readonly key: string;
  readonly list: SourceList<LiveContents>;
}

export class ListRegistry implements ListsByReader {
  readonly #options: ListRegistryOptions;
  readonly #watch: FileWatch | undefined;
  readonly #lists = new Map<FollowedList, RegisteredList>();
  /** By their addresses. */
  readonly #etcd = new Map<string, EtcdServer>();
  readonly #redis = new Map<string, RedisServer>();
  readonly #unasked = new Set<string>();
  /** Lists of one kind by the reader that makes them. */
  readonly #kinds = new Map<unknown, unknown>();

  constructor(options: ListRegistryOptions) {
    this.#options = options;
    this.#watch = options.mode === 'follow' ? new FileWatch() : undefined;
  }

  /** The lists that this reader reads. */
  of<Contents extends LiveContents>(reader: ListReader<Contents>): SourceLists<Contents> {
    const known = this.#kinds.get(reader) as SourceLists<Contents> | undefined;
    const kind = known ?? this.#kind(reader);
    this.#kinds.set(reader, kind);
    return kind;
  }

  /** Ends every list that is not among these. */
  retain(lists: ReadonlySet<unknown>): void {
    for (const list of this.#lists.keys()) {
      if (lists.has(list)) continue;
      this.#lists.delete(list);
      list.close();
    }
  }

  /** Every list there is. */
  get registered(): Iterable<RegisteredList> {
    return this.#lists.values();
  }

  /** Of every list that is not what its source has. */
  get faults(): readonly PolicyFault[] {
    return [...this.#lists.keys()].flatMap(({ faults }) => faults);
  }

  /** Lists of other servers, which were not asked for them. */
  get unasked(): readonly string[] {
    return [...this.#unasked];
  }

  /** Looks at files without waiting to hear of their change; resolves when they are read. */
  async refresh(): Promise<void> {
    await this.#watch?.lookNow();
    await Promise.all([...this.#lists.keys()].map((list) => list.settled()));
  }

  close(): void {
    this.retain(new Set());
    this.#watch?.close();
  }

  #kind<Contents extends LiveContents>(reader: ListReader<Contents>): SourceLists<Contents> {
    const known = new Map<string, LiveList<Contents>>();
    const { onChange, onWarning } = this.#options;
    const options = {
      reader,
      ...(onChange !== undefined && { onChange }),
      ...(onWarning !== undefined && { onWarning }),
    };
    return {
      list: async (source) => {
        const makeFeed = await this.#feedMaker(source);
        const key = sourceKey(source);
        const before = known.get(key);
        // One that was ended since begins anew.
        if (before !== undefined && this.#lists.has(before)) return before;
        const list = new LiveList(makeFeed(), options);
        known.set(key, list);
        this.#lists.set(list, { reader, key, list });
        return list;
      },
    };
  }

  /** The clients of the servers load when a list needs them. */
  async #feedMaker(source: ListSource): Promise<() => Feed> {
    if (source.kind === 'file') return () => new FileFeed(source.path, this.#watch);
    if (this.#options.mode === 'once') {
      const place = sourcePlace(source);
      this.#unasked.add(place);
      return () => emptyFeed(place);
    }
    if (source.kind === 'etcd') {
      const { EtcdFeed } = await import('./etcd-feed.ts');
      const { EtcdServer } = await import('./etcd-server.ts');
      return () => new EtcdFeed(this.#shared(this.#etcd, source.at, EtcdServer), source.key);
    }
    const { RedisFeed } = await import('./redis-feed.ts');
    const { RedisServer } = await import('./redis-server.ts');
    return () => new RedisFeed(this.#shared(this.#redis, source.at, RedisServer), source.key);
  }

  /** Lists of one server share its connections. */
  #shared<Address extends object, Server>(
    servers: Map<string, Server>,
    at: Address,
    Kind: new (at: Address, find: FindAccess | undefined, onUnused: () => void) => Server,
  ): Server {
    const key = JSON.stringify(at);
    const known = servers.get(key);
    if (known !== undefined) return known;
    const server = new Kind(at, this.#options.findAccess, () => void servers.delete(key));
    servers.set(key, server);
    return server;
  }
}

function emptyFeed(place: string): Feed {
  return {
    place,
    start: async (listener) => listener.onSnapshot({ kind: 'keyed', entries: new Map() }),
    stop: () => undefined,
  };
}

/** Where a list comes from, for people. */
export function sourcePlace(source: ListSource): string {
  return source.kind === 'file' ? source.path : `${source.kind} ${source.key}`;
}

/** Unlike that of every other source. */
export function sourceKey(source: ListSource): string {
  if (source.kind === 'file') return `file ${source.path}`;
  return `${source.kind} ${JSON.stringify(source.at)} ${source.key}`;
}
