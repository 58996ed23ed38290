/** The identities in use: read when first asked for, kept in bounds, read again when their files change. */

import { fileFault, type PolicyFault } from '../core/fault.ts';
import type { FileWatch } from '../sources/file-watch.ts';

/** What is read; `digest` tells whether it is another than before. */
export interface Digested {
  readonly digest: string;
}

/** Files that are read together, and how. */
export interface IdentitySource<Identity extends Digested> {
  /** Unlike that of every other source of the store. */
  readonly key: string;
  /** For the log. */
  readonly label: string;
  /** Absolute paths; also of files that need not be there. */
  files(): readonly string[];
  /** The wall clock is in milliseconds since the epoch. */
  read(nowMs: number): Promise<Identity | readonly PolicyFault[]>;
}

/** What became of files that were read: for the log. */
export interface IdentityReading {
  readonly label: string;
  /** `faulty`: what was in force before stays, if anything was. */
  readonly outcome: 'loaded' | 'replaced' | 'faulty';
  readonly faults: readonly PolicyFault[];
}

export interface IdentityStoreOptions {
  /** Identities kept at once; the one asked for longest ago makes room. */
  readonly capacity: () => number;
  readonly watch: FileWatch;
  /** Wall clock in milliseconds since the epoch. */
  readonly nowMs?: () => number;
  readonly onReading?: (reading: IdentityReading) => void;
  /** How long a changed folder with faults is waited for: the second half of a pair may be on its way. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 1000;
/** A folder that gave no identity is read again when it is asked for after so long. */
const RETRY_MS = 5000;

/** Where identities are asked for. */
export type Identities<Identity extends Digested> = Pick<IdentityStore<Identity>, 'get' | 'version'>;

/** Reads a source. Never rejects: what nobody thought of is a fault of these files, and of no others. */
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

/** One read a name however many ask at once; a folder with faults answers for its own name alone. */
export class IdentityStore<Identity extends Digested> {
  readonly #options: IdentityStoreOptions;
  readonly #nowMs: () => number;
  /** The one asked for longest ago first. */
  readonly #entries = new Map<string, Entry<Identity>>();
  #version = 0;

  constructor(options: IdentityStoreOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** The identity if it is there, else a promise of it; nothing while its folder has never been without fault. */
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

  /** Rises with every identity that is read, or replaced. */
  get version(): number {
    return this.#version;
  }

  /** What is in force for a source, without asking for it. */
  peek(key: string): Identity | undefined {
    return this.#entries.get(key)?.identity;
  }

  /** What is in force for a source although its files have faults now: once released, it could not be read again. */
  lastGood(key: string): Identity | undefined {
    const entry = this.#entries.get(key);
    return entry?.impatient ? entry.identity : undefined;
  }

  /** Nobody asks for the source any more. */
  release(key: string): void {
    this.#entries.get(key)?.close();
    this.#entries.delete(key);
  }

  /** What is in force now. */
  get loaded(): readonly Identity[] {
    return [...this.#entries.values()].flatMap(({ identity }) => identity ?? []);
  }

  /** Of every folder read, also where the last good identity is still in force. */
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
    // The same material keeps its contexts, sessions and all.
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

/** Files that were asked for. */
class Entry<Identity extends Digested> {
  readonly source: IdentitySource<Identity>;
  identity: Identity | undefined;
  faults: readonly PolicyFault[] = [];
  reading: Promise<Identity | undefined> | undefined;
  readMs = Number.NEGATIVE_INFINITY;
  /** The files changed while they were being read. */
  changed = false;
  /** Faults were seen, and are waited for once: the files have not been good since. */
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
