/** The identities in use: read on first use, bounded in number, and read again when their files change. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import type { FileWatch } from '../sources/file-watch.ts';

/** What is read; `digest` changes when the contents do. */
export interface Digested {
  readonly digest: string;
}

/** Files that are read together, and how to read them. */
export interface IdentitySource<Identity extends Digested> {
  /** Unique in the store. */
  readonly key: string;
  /** For the log. */
  readonly label: string;
  /** Absolute paths, including files that need not exist. */
  files(): readonly string[];
  /** `nowMs`: wall clock, milliseconds since the epoch. */
  read(nowMs: number): Promise<Identity | readonly PolicyFault[]>;
}

/** The outcome of reading files, for the log. */
export interface IdentityReading {
  readonly label: string;
  /** `faulty`: the identity in use stays, if there is one. */
  readonly outcome: 'loaded' | 'replaced' | 'faulty';
  readonly faults: readonly PolicyFault[];
}

export interface IdentityStoreOptions {
  /** Identities kept at once; the least recently used one is evicted. */
  readonly capacity: () => number;
  readonly watch: FileWatch;
  /** Wall clock in milliseconds since the epoch. */
  readonly nowMs?: () => number;
  readonly onReading?: (reading: IdentityReading) => void;
  /** Wait before faults of changed files are reported: the second file of a pair may be on its way. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 1000;
/** A source that gave no identity is read again if it is asked for after this time. */
const RETRY_MS = 5000;

/** Looks up identities. */
export type Identities<Identity extends Digested> = Pick<IdentityStore<Identity>, 'get' | 'version'>;

/** Reads a source. Never rejects: an unexpected error becomes a fault of these files, and of no others. */
export async function readSource<Identity extends Digested>(
  source: IdentitySource<Identity>,
  nowMs: number,
): Promise<Identity | readonly PolicyFault[]> {
  try {
    return await source.read(nowMs);
  } catch (error) {
    return [fileFault(source.files()[0] ?? source.label, `cannot be used: ${error}`)];
  }
}

/** Reads a source once however many callers ask at once; faults of one source do not affect any other. */
export class IdentityStore<Identity extends Digested> {
  readonly #options: IdentityStoreOptions;
  readonly #nowMs: () => number;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry<Identity>>();
  #version = 0;

  constructor(options: IdentityStoreOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** The identity if it is loaded, else a promise of it; undefined if its files had faults less than `RETRY_MS` ago. */
  get(source: IdentitySource<Identity>): Identity | Promise<Identity | undefined> | undefined {
    const { key } = source;
    const known = this.#entries.get(key);
    const entry = known ?? new Entry(source);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (known === undefined) this.#makeRoom();
    if (entry.identity !== undefined) return entry.identity;
    if (entry.reading !== undefined) return entry.reading;
    return this.#nowMs() - entry.readMs < RETRY_MS ? undefined : this.#read(entry);
  }

  /** Increases with every identity that is loaded or replaced. */
  get version(): number {
    return this.#version;
  }

  /** The identity in use for a source; never reads it. */
  peek(key: string): Identity | undefined {
    return this.#entries.get(key)?.identity;
  }

  /** The identity in use for a source whose files have faults now: once released, it could not be read again. */
  lastGood(key: string): Identity | undefined {
    const entry = this.#entries.get(key);
    return entry?.impatient ? entry.identity : undefined;
  }

  /** Forgets a source that is no longer used. */
  release(key: string): void {
    this.#entries.get(key)?.close();
    this.#entries.delete(key);
  }

  /** The identities in use. */
  get loaded(): readonly Identity[] {
    return [...this.#entries.values()].flatMap(({ identity }) => identity ?? []);
  }

  /** Faults of every source read, even if its last good identity is still in use. */
  get faults(): readonly PolicyFault[] {
    return [...this.#entries.values()].flatMap(({ faults }) => faults);
  }

  /** Resolves when nothing is being read. */
  async settled(): Promise<void> {
    await Promise.all([...this.#entries.values()].map(({ reading }) => reading));
  }

  /** Forgets every source but these. */
  retain(keys: ReadonlySet<string>): void {
    for (const [key, entry] of this.#entries) {
      if (keys.has(key)) continue;
      this.#entries.delete(key);
      entry.close();
    }
  }

  close(): void {
    this.retain(new Set());
  }

  #makeRoom(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= this.#options.capacity()) return;
      this.#entries.delete(key);
      entry.close();
    }
  }

  #read(entry: Entry<Identity>): Promise<Identity | undefined> {
    entry.reading ??= this.#readNow(entry).finally(() => {
      entry.reading = undefined;
      if (entry.changed) this.#onChange(entry);
    });
    return entry.reading;
  }

  async #readNow(entry: Entry<Identity>): Promise<Identity | undefined> {
    await this.#watch(entry);
    entry.changed = false;
    entry.readMs = this.#nowMs();
    const found = await readSource(entry.source, entry.readMs);
    if (entry.closed) return 'digest' in found ? found : undefined;
    if ('digest' in found) this.#take(entry, found);
    else this.#refuse(entry, found);
    return entry.identity;
  }

  async #watch(entry: Entry<Identity>): Promise<void> {
    if (entry.stopWatching !== undefined) return;
    const files = entry.source.files();
    entry.stopWatching = await this.#options.watch.watch(files, () => this.#onChange(entry));
    if (entry.closed) entry.close();
  }

  #onChange(entry: Entry<Identity>): void {
    if (entry.closed) return;
    entry.changed = true;
    if (entry.reading === undefined) void this.#read(entry);
  }

  #take(entry: Entry<Identity>, identity: Identity): void {
    const before = entry.identity;
    const mended = entry.faults.length > 0;
    entry.faults = [];
    entry.impatient = false;
    if (before?.digest === identity.digest && !mended) return;
    // The same material keeps its TLS contexts and their sessions.
    if (before?.digest !== identity.digest) {
      entry.identity = identity;
      this.#version += 1;
    }
    this.#tell(entry, before === undefined ? 'loaded' : 'replaced');
  }

  #refuse(entry: Entry<Identity>, faults: readonly PolicyFault[]): void {
    if (entry.identity !== undefined && !entry.impatient) {
      entry.impatient = true;
      entry.again(() => this.#onChange(entry), this.#options.patienceMs ?? PATIENCE_MS);
      return;
    }
    const told = entry.faults;
    entry.faults = faults;
    if (JSON.stringify(told) !== JSON.stringify(faults)) this.#tell(entry, 'faulty');
  }

  #tell({ source: { label }, faults }: Entry<Identity>, outcome: IdentityReading['outcome']): void {
    this.#options.onReading?.({ label, outcome, faults });
  }
}

/** The state of one source. */
class Entry<Identity extends Digested> {
  readonly source: IdentitySource<Identity>;
  identity: Identity | undefined;
  faults: readonly PolicyFault[] = [];
  reading: Promise<Identity | undefined> | undefined;
  readMs = Number.NEGATIVE_INFINITY;
  /** The files changed while they were being read. */
  changed = false;
  /** The files have had faults since they were last good; the wait for their second half has begun. */
  impatient = false;
  closed = false;
  stopWatching: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: IdentitySource<Identity>) {
    this.source = source;
  }

  again(read: () => void, afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(read, afterMs).unref();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.#timer);
    this.stopWatching?.();
  }
}
