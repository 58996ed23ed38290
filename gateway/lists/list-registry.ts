/** The lists of a policy by source: each source is one list, however often the policy names it. */

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
  /** `once`: files are read once, and no server is contacted; lists on servers count as empty. */
  readonly mode: 'follow' | 'once';
  /** Called when the contents or the faults of a list change. */
  readonly onChange?: (list: FollowedList) => void;
  /** Called with problems that are not faults of the list itself. */
  readonly onWarning?: (list: FollowedList, warning: string) => void;
  /** Finds credentials and TLS files of servers that need them. */
  readonly findAccess?: FindAccess | undefined;
}

/** A list with the source it follows. */
export interface SourceList<Contents extends LiveContents> extends ListPart<Contents>, FollowedList {}

/** Lists read by one reader. */
export interface SourceLists<Contents extends LiveContents> {
  /** Returns the list of a source, and follows it from now on. */
  list(source: ListSource): Promise<SourceList<Contents>>;
}

/** Lists of every kind, by reader. */
export interface ListsByReader {
  of<Contents extends LiveContents>(reader: ListReader<Contents>): SourceLists<Contents>;
}

/** A registered list, identified by its reader and the `sourceKey` of its source. */
export interface RegisteredList {
  readonly reader: unknown;
  readonly key: string;
  readonly list: SourceList<LiveContents>;
}

export class ListRegistry implements ListsByReader {
  readonly #options: ListRegistryOptions;
  readonly #watch: FileWatch | undefined;
  readonly #lists = new Map<FollowedList, RegisteredList>();
  /** Servers by address. */
  readonly #etcd = new Map<string, EtcdServer>();
  readonly #redis = new Map<string, RedisServer>();
  readonly #unasked = new Set<string>();
  /** Lists of one kind by the reader that makes them. */
  readonly #kinds = new Map<unknown, unknown>();

  constructor(options: ListRegistryOptions) {
    this.#options = options;
    this.#watch = options.mode === 'follow' ? new FileWatch() : undefined;
  }

  of<Contents extends LiveContents>(reader: ListReader<Contents>): SourceLists<Contents> {
    const known = this.#kinds.get(reader) as SourceLists<Contents> | undefined;
    const kind = known ?? this.#kind(reader);
    this.#kinds.set(reader, kind);
    return kind;
  }

  /** Closes every list that is not in `lists`. */
  retain(lists: ReadonlySet<unknown>): void {
    for (const list of this.#lists.keys()) {
      if (lists.has(list)) continue;
      this.#lists.delete(list);
      list.close();
    }
  }

  get registered(): Iterable<RegisteredList> {
    return this.#lists.values();
  }

  get faults(): readonly PolicyFault[] {
    return [...this.#lists.keys()].flatMap(({ faults }) => faults);
  }

  /** Places of the lists whose server was not contacted, in mode `once`. */
  get unasked(): readonly string[] {
    return [...this.#unasked];
  }

  /** Checks files for changes now, instead of waiting for notifications; resolves when they are read. */
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
        // A list that was closed meanwhile is replaced.
        if (before !== undefined && this.#lists.has(before)) return before;
        const list = new LiveList(makeFeed(), options);
        known.set(key, list);
        this.#lists.set(list, { reader, key, list });
        return list;
      },
    };
  }

  /** Loads the client of etcd or Redis when a list needs it. */
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

/** Returns the display name of a source. */
export function sourcePlace(source: ListSource): string {
  return source.kind === 'file' ? source.path : `${source.kind} ${source.key}`;
}

/** Returns a key that is unique to the source. */
export function sourceKey(source: ListSource): string {
  if (source.kind === 'file') return `file ${source.path}`;
  return `${source.kind} ${JSON.stringify(source.at)} ${source.key}`;
}
