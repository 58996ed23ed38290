/** A list that follows its source: new contents are built beside those in force, then replace them at once. */

import { messageOf } from '../core/error-text.ts';
import { fileFault, formatFault, type PolicyFault } from '../core/fault.ts';
import type { SlicedWork } from '../core/prefix-columns.ts';
import { runSliced } from './run-sliced.ts';

/** The contents of a source at one moment. */
export type Snapshot =
  | { readonly kind: 'text'; readonly text: string }
  /** Entries that each have a key, since they can change one at a time. */
  | { readonly kind: 'keyed'; readonly entries: KeyedEntries };

/** Pairs of key and text; keys are unique. */
export type KeyedEntries = Iterable<readonly [key: string, text: string]>;

/** Receives what a source reports. */
export interface FeedListener {
  onSnapshot(snapshot: Snapshot): void;
  /** Called if the source cannot be read; the last snapshot remains valid. */
  onFault(problem: string): void;
  /** Called with a problem that does not keep the source from being read. */
  onWarning(warning: string): void;
}

/** Where a list comes from. */
export interface Feed {
  /** Display name: `path/of/file`, `etcd /key` or `redis key`. */
  readonly place: string;
  /** Resolves when the source has been read once, or reading has failed. */
  start(listener: FeedListener): Promise<void>;
  /** Resolves when all reads requested so far have finished. */
  settled?(): Promise<void>;
  stop(): void;
}

/** The contents built from a snapshot. */
export interface LiveContents {
  /** When an entry expires, so that the contents must be rebuilt; milliseconds since the epoch. */
  readonly nextEndMs?: number;
  /** Number of entries. */
  readonly size?: number;
}

/** Builds the contents of a list, or returns its faults; `file` and `place` are display names. */
export interface ListReader<Contents extends LiveContents> {
  text(file: string, text: string, nowMs: number): SlicedWork<Contents | readonly PolicyFault[]>;
  keyed(place: string, entries: KeyedEntries, nowMs: number): SlicedWork<Contents | readonly PolicyFault[]>;
}

/** One source of a list, with its contents. */
export interface ListPart<Contents> {
  readonly place: string;
  /** Undefined until the first successful read. */
  readonly contents: Contents | undefined;
  /** Whether the contents are those of the source. */
  readonly isCurrent: boolean;
}

/** A list of any kind, without its contents. */
export interface FollowedList {
  readonly place: string;
  /** Why the contents in force are not those of the source. */
  readonly faults: readonly PolicyFault[];
  /** Resolves when everything the source has reported is in force, or is a fault. */
  settled(): Promise<void>;
  close(): void;
}

export interface LiveListOptions<Contents extends LiveContents> {
  readonly reader: ListReader<Contents>;
  /** Wall clock in milliseconds since the epoch. */
  readonly nowMs?: () => number;
  readonly onChange?: (list: FollowedList) => void;
  readonly onWarning?: (list: FollowedList, warning: string) => void;
}

/** Whether a reader returned faults instead of contents. */
export function isFaults(read: object | readonly PolicyFault[]): read is readonly PolicyFault[] {
  return Array.isArray(read);
}

/** A snapshot to build: a new one, or `again` the one in force, because one of its entries has expired. */
interface Work {
  readonly snapshot: Snapshot;
  readonly again: boolean;
}

/** The longest delay of a timer: 31 bits of milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class LiveList<Contents extends LiveContents>
  implements ListPart<Contents>, FollowedList, FeedListener
{
  readonly #feed: Feed;
  readonly #nowMs: () => number;
  readonly #reader: ListReader<Contents>;
  readonly #onChange: LiveListOptions<Contents>['onChange'];
  readonly #onWarning: LiveListOptions<Contents>['onWarning'];
  readonly #started: Promise<void>;
  #contents: Contents | undefined;
  #faults: readonly PolicyFault[] = [];
  /** Faults of the source since its newest snapshot, which may still have to be built. */
  #sinceSnapshot: readonly PolicyFault[] = [];
  #waiting: Work | undefined;
  /** The snapshot of the contents in force if they have to be rebuilt; newer snapshots may have faults. */
  #good: Snapshot | undefined;
  #building: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(feed: Feed, options: LiveListOptions<Contents>) {
    this.#feed = feed;
    this.#reader = options.reader;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#onChange = options.onChange;
    this.#onWarning = options.onWarning;
    this.#started = feed.start(this);
  }

  get place(): string {
    return this.#feed.place;
  }

  get contents(): Contents | undefined {
    return this.#contents;
  }

  get isCurrent(): boolean {
    return this.#contents !== undefined && this.#faults.length === 0;
  }

  get faults(): readonly PolicyFault[] {
    return this.#faults;
  }

  async settled(): Promise<void> {
    await this.#started;
    await this.#feed.settled?.();
    while (this.#building !== undefined) await this.#building;
  }

  onSnapshot(snapshot: Snapshot): void {
    this.#sinceSnapshot = [];
    this.#enqueue({ snapshot, again: false });
  }

  #enqueue(work: Work): void {
    this.#waiting = work;
    if (this.#building === undefined) this.#begin();
  }

  /** A snapshot that arrives after `#build` has ended, but before `finally` runs, starts another build. */
  #begin(): void {
    this.#building = this.#build().finally(() => {
      this.#building = undefined;
      if (this.#waiting !== undefined && !this.#closed) this.#begin();
    });
  }

  onFault(problem: string): void {
    this.#sinceSnapshot = [fileFault(this.place, problem)];
    this.#take(undefined, this.#sinceSnapshot);
  }

  onWarning(warning: string): void {
    this.#onWarning?.(this, warning);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#feed.stop();
  }

  async #build(): Promise<void> {
    while (this.#waiting !== undefined && !this.#closed) {
      const { snapshot, again } = this.#waiting;
      this.#waiting = undefined;
      const read = await this.#read(snapshot);
      if (read === undefined) return;
      if (isFaults(read)) {
        this.#take(undefined, [...read, ...this.#sinceSnapshot]);
        continue;
      }
      this.#good = read.nextEndMs === undefined ? undefined : snapshot;
      if (!again && read.size === 0) this.#warnOfLoss();
      // The expiry of an entry does not clear the faults of the source.
      this.#take(read, again ? this.#faults : this.#sinceSnapshot);
    }
  }

  /** A source that lost its data looks like one that was emptied on purpose. */
  #warnOfLoss(): void {
    const { size = 0 } = this.#contents ?? {};
    if (size > 0) this.onWarning(`is empty now, had entries before: ${size}`);
  }

  /** Builds contents or returns faults; an error thrown by the reader is a fault. Undefined once the list is closed. */
  async #read(snapshot: Snapshot): Promise<Contents | readonly PolicyFault[] | undefined> {
    const nowMs = this.#nowMs();
    try {
      const work =
        snapshot.kind === 'text'
          ? this.#reader.text(this.place, snapshot.text, nowMs)
          : this.#reader.keyed(this.place, snapshot.entries, nowMs);
      return await runSliced(work, () => !this.#closed);
    } catch (error) {
      return [fileFault(this.place, `cannot be read: ${messageOf(error)}`)];
    }
  }

  #take(contents: Contents | undefined, faults: readonly PolicyFault[]): void {
    const told = this.#faults.map(formatFault).join('\n');
    if (contents !== undefined) this.#contents = contents;
    this.#faults = faults;
    this.#awaitEnd();
    if (contents !== undefined || faults.map(formatFault).join('\n') !== told) this.#onChange?.(this);
  }

  /** Schedules a rebuild for when the next entry expires. */
  #awaitEnd(): void {
    clearTimeout(this.#timer);
    const nextEndMs = this.#contents?.nextEndMs;
    if (nextEndMs === undefined || this.#closed) return;
    const inMs = Math.min(MAX_TIMER_MS, Math.max(0, nextEndMs - this.#nowMs()) + 1);
    this.#timer = setTimeout(() => {
      // A build under way is newer, and schedules the next rebuild itself.
      if (this.#good !== undefined && this.#building === undefined) {
        this.#enqueue({ snapshot: this.#good, again: true });
      }
    }, inMs).unref();
  }
}
