/** A list that follows its source: read whole, built beside the one in force, put in its place at once. */

import { messageOf } from '../core/error-text.ts';
import { fileFault, formatFault, type PolicyFault } from '../core/fault.ts';
import type { SlicedWork } from '../core/prefix-columns.ts';
import { runSliced } from './run-sliced.ts';

/** What a source has at one moment. */
export type Snapshot =
  | { readonly kind: 'text'; readonly text: string }
  /** Entries by keys of their own, as they may be changed one at a time. */
  | { readonly kind: 'keyed'; readonly entries: KeyedEntries };

/** Key and text of each; no key is there twice. */
export type KeyedEntries = Iterable<readonly [key: string, text: string]>;

/** Hears what a source says. */
export interface FeedListener {
  onSnapshot(snapshot: Snapshot): void;
  /** The source cannot be read; what it said last still holds. */
  onFault(problem: string): void;
  /** It can be read, and somebody should know of this. */
  onWarning(warning: string): void;
}

/** Where a list comes from. */
export interface Feed {
  /** `path/of/file`, `etcd /key` or `redis key`: for people. */
  readonly place: string;
  /** Resolves when the source was read once, or could not be. */
  start(listener: FeedListener): Promise<void>;
  /** Resolves when nothing is being read that was asked for before. */
  settled?(): Promise<void>;
  stop(): void;
}

/** What is built of a snapshot. */
export interface LiveContents {
  /** When it has to be built again for the time alone, milliseconds since the epoch. */
  readonly nextEndMs?: number;
  /** Of its entries, where it has any. */
  readonly size?: number;
}

/** Builds what a list holds, or finds what is wrong with it; `file` and `place` are for people. */
export interface ListReader<Contents extends LiveContents> {
  text(file: string, text: string, nowMs: number): SlicedWork<Contents | readonly PolicyFault[]>;
  keyed(place: string, entries: KeyedEntries, nowMs: number): SlicedWork<Contents | readonly PolicyFault[]>;
}

/** One place of a list. */
export interface ListPart<Contents> {
  readonly place: string;
  /** Absent while it has never been read. */
  readonly contents: Contents | undefined;
  /** The source has the same as is in force. */
  readonly isCurrent: boolean;
}

/** A list of whatever kind, as those see it who keep it. */
export interface FollowedList {
  readonly place: string;
  /** Why the list in force is not what the source has. */
  readonly faults: readonly PolicyFault[];
  /** Resolves when all that the source has said is in force, or is a fault. */
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

/** What is wrong with a list, in place of its contents. */
export function isFaults(read: object | readonly PolicyFault[]): read is readonly PolicyFault[] {
  return Array.isArray(read);
}

/** A snapshot to be built: a new one, or the one in force again, because an entry of it has ended. */
interface Work {
  readonly snapshot: Snapshot;
  readonly again: boolean;
}

/** Timers take 31 bits of milliseconds. */
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
  /** What was wrong with the source since its newest snapshot, which is perhaps still to be built. */
  #sinceSnapshot: readonly PolicyFault[] = [];
  #waiting: Work | undefined;
  /** What the contents were built of, where they have to be built again; what the source said since may have faults. */
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

  /** What is said between the end of a building and its being noticed begins another. */
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
      // That an entry has ended mends nothing of what is wrong with the source.
      this.#take(read, again ? this.#faults : this.#sinceSnapshot);
    }
  }

  /** A source that lost its data looks like one that was emptied. */
  #warnOfLoss(): void {
    const { size = 0 } = this.#contents ?? {};
    if (size > 0) this.onWarning(`it had ${size} entries, and has none any more`);
  }

  /** What a snapshot holds, or what is wrong with it, which is also what a reader throws; nothing once the list is closed. */
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

  /** The list is built again when its next entry ends. */
  #awaitEnd(): void {
    clearTimeout(this.#timer);
    const nextEndMs = this.#contents?.nextEndMs;
    if (nextEndMs === undefined || this.#closed) return;
    const inMs = Math.min(MAX_TIMER_MS, Math.max(0, nextEndMs - this.#nowMs()) + 1);
    this.#timer = setTimeout(() => {
      // What is being built is newer, or asks for this again when it is done.
      if (this.#good !== undefined && this.#building === undefined) {
        this.#enqueue({ snapshot: this.#good, again: true });
      }
    }, inMs).unref();
  }
}
