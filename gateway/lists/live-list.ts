/** An address list that follows its source: read whole, built beside the one in force, put in its place at once. */

import { fileFault, formatFault, type PolicyFault } from '../core/fault.ts';
import { type ListContents, readKeyed, readText } from './contents.ts';
import { runSteps } from './run-steps.ts';

/** What a source has at one moment. */
export type Snapshot =
  | { readonly kind: 'text'; readonly text: string }
  /** Entries by keys of their own, as they may be changed one at a time. */
  | { readonly kind: 'keyed'; readonly entries: ReadonlyMap<string, string> };

/** Hears what a source says. */
export interface FeedListener {
  onSnapshot(snapshot: Snapshot): void;
  /** The source cannot be read; what it said last still holds. */
  onFault(problem: string): void;
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

/** One place of an address list. */
export interface ListPart {
  readonly place: string;
  /** Absent while it has never been read. */
  readonly contents: ListContents | undefined;
  /** The source has the same as is in force. */
  readonly isCurrent: boolean;
}

export interface LiveListOptions {
  /** Wall clock in milliseconds since the epoch. */
  readonly nowMs?: () => number;
  readonly onChange?: (list: LiveList) => void;
}

/** Timers take 31 bits of milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class LiveList implements ListPart, FeedListener {
  readonly #feed: Feed;
  readonly #nowMs: () => number;
  readonly #onChange: ((list: LiveList) => void) | undefined;
  readonly #started: Promise<void>;
  #contents: ListContents | undefined;
  #faults: readonly PolicyFault[] = [];
  /** What the source said last, while it is not built. */
  #waiting: Snapshot | undefined;
  #latest: Snapshot | undefined;
  #building: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(feed: Feed, options: LiveListOptions = {}) {
    this.#feed = feed;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#onChange = options.onChange;
    this.#started = feed.start(this);
  }

  get place(): string {
    return this.#feed.place;
  }

  get contents(): ListContents | undefined {
    return this.#contents;
  }

  get isCurrent(): boolean {
    return this.#contents !== undefined && this.#faults.length === 0;
  }

  /** Why the list in force is not what the source has. */
  get faults(): readonly PolicyFault[] {
    return this.#faults;
  }

  /** Resolves when all that the source has said is in force, or is a fault. */
  async settled(): Promise<void> {
    await this.#started;
    await this.#feed.settled?.();
    while (this.#building !== undefined) await this.#building;
  }

  onSnapshot(snapshot: Snapshot): void {
    this.#latest = snapshot;
    this.#waiting = snapshot;
    this.#building ??= this.#build().finally(() => {
      this.#building = undefined;
    });
  }

  onFault(problem: string): void {
    this.#take(undefined, [fileFault(this.place, problem)]);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#feed.stop();
  }

  async #build(): Promise<void> {
    while (this.#waiting !== undefined && !this.#closed) {
      const snapshot = this.#waiting;
      this.#waiting = undefined;
      const nowMs = this.#nowMs();
      const steps =
        snapshot.kind === 'text'
          ? readText(this.place, snapshot.text, nowMs)
          : readKeyed(this.place, snapshot.entries, nowMs);
      const read = await runSteps(steps, () => !this.#closed);
      if (read === undefined) return;
      if ('tree' in read) this.#take(read, []);
      else this.#take(undefined, read);
    }
  }

  #take(contents: ListContents | undefined, faults: readonly PolicyFault[]): void {
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
    const inMs = Math.min(LONGEST_TIMER_MS, Math.max(0, nextEndMs - this.#nowMs()) + 1);
    this.#timer = setTimeout(() => {
      if (this.#latest !== undefined) this.onSnapshot(this.#latest);
    }, inMs).unref();
  }
}
