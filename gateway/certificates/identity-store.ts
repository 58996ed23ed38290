/** The identities in use: read when first asked for, kept in bounds, read again when their files change. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileFault, type PolicyFault } from '../policy/fault.ts';
import type { FileWatch } from '../sources/file-watch.ts';
import { identityFiles, identityFolder, readIdentity, type ServerIdentity } from './server-identity.ts';

/** Which folder, and what is expected of it. */
export interface IdentityRequest {
  /** The folder with one folder a server name. */
  readonly certificates: string;
  /** As the policy writes it, `*.` for a wildcard. */
  readonly serverName: string;
  readonly needsClients: boolean;
}

/** What became of a folder that was read: for the log. */
export interface IdentityReading {
  readonly serverName: string;
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

/** One read a name however many ask at once; a folder with faults answers for its own name alone. */
export class IdentityStore {
  readonly #options: IdentityStoreOptions;
  readonly #nowMs: () => number;
  /** The one asked for longest ago first. */
  readonly #entries = new Map<string, Entry>();

  constructor(options: IdentityStoreOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** The identity if it is there, else a promise of it; nothing while its folder has never been without fault. */
  get(request: IdentityRequest): ServerIdentity | Promise<ServerIdentity | undefined> | undefined {
    const key = `${request.certificates} ${request.serverName} ${request.needsClients}`;
    const known = this.#entries.get(key);
    const entry = known ?? new Entry(request);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (known === undefined) this.#makeRoom();
    if (entry.identity !== undefined) return entry.identity;
    if (entry.reading !== undefined) return entry.reading;
    return this.#nowMs() - entry.readMs < RETRY_MS ? undefined : this.#read(entry);
  }

  /** What is in force now. */
  get loaded(): readonly ServerIdentity[] {
    return [...this.#entries.values()].flatMap(({ identity }) => identity ?? []);
  }

  /** Of every folder read, also where the last good identity is still in force. */
  get faults(): readonly PolicyFault[] {
    return [...this.#entries.values()].flatMap(({ faults }) => faults);
  }

  /** Looks whether files have changed, without waiting to hear of it; resolves when they are read. */
  async refresh(): Promise<void> {
    await this.#options.watch.lookNow();
    await Promise.all([...this.#entries.values()].map(({ reading }) => reading));
  }

  close(): void {
    for (const entry of this.#entries.values()) entry.close();
    this.#entries.clear();
  }

  #makeRoom(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= this.#options.capacity()) return;
      this.#entries.delete(key);
      entry.close();
    }
  }

  #read(entry: Entry): Promise<ServerIdentity | undefined> {
    entry.reading ??= this.#readNow(entry).finally(() => {
      entry.reading = undefined;
      if (entry.changed) this.#onChange(entry);
    });
    return entry.reading;
  }

  async #readNow(entry: Entry): Promise<ServerIdentity | undefined> {
    await this.#watch(entry);
    entry.changed = false;
    entry.readMs = this.#nowMs();
    const { certificates, serverName, needsClients } = entry.request;
    const found = await readIdentity(certificates, serverName, needsClients, entry.readMs);
    if (entry.closed) return 'digest' in found ? found : undefined;
    if ('digest' in found) this.#take(entry, found);
    else this.#refuse(entry, found);
    return entry.identity;
  }

  async #watch(entry: Entry): Promise<void> {
    if (entry.stopWatching !== undefined) return;
    const { certificates, serverName } = entry.request;
    const files = identityFiles(identityFolder(certificates, serverName));
    entry.stopWatching = await this.#options.watch.watch(files, () => this.#onChange(entry));
    if (entry.closed) entry.close();
  }

  #onChange(entry: Entry): void {
    if (entry.closed) return;
    entry.changed = true;
    if (entry.reading === undefined) void this.#read(entry);
  }

  #take(entry: Entry, identity: ServerIdentity): void {
    const before = entry.identity;
    const mended = entry.faults.length > 0;
    entry.faults = [];
    entry.impatient = false;
    if (before?.digest === identity.digest && !mended) return;
    // The same material keeps its contexts, sessions and all.
    if (before?.digest !== identity.digest) entry.identity = identity;
    this.#tell(entry, before === undefined ? 'loaded' : 'replaced');
  }

  #refuse(entry: Entry, faults: readonly PolicyFault[]): void {
    if (entry.identity !== undefined && !entry.impatient) {
      entry.impatient = true;
      entry.again(() => this.#onChange(entry), this.#options.patienceMs ?? PATIENCE_MS);
      return;
    }
    const told = entry.faults;
    entry.faults = faults;
    if (JSON.stringify(told) !== JSON.stringify(faults)) this.#tell(entry, 'faulty');
  }

  #tell({ request: { serverName }, faults }: Entry, outcome: IdentityReading['outcome']): void {
    this.#options.onReading?.({ serverName, outcome, faults });
  }
}

/** One folder that was asked for. */
class Entry {
  readonly request: IdentityRequest;
  identity: ServerIdentity | undefined;
  faults: readonly PolicyFault[] = [];
  reading: Promise<ServerIdentity | undefined> | undefined;
  readMs = Number.NEGATIVE_INFINITY;
  /** The files changed while they were being read. */
  changed = false;
  /** Faults were seen and waited for once. */
  impatient = false;
  closed = false;
  stopWatching: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(request: IdentityRequest) {
    this.request = request;
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

/** Faults of server names without a folder: found by one look at the folder of folders, nothing in them is read. */
export async function missingFolders(
  certificates: string,
  serverNames: Iterable<string>,
): Promise<readonly PolicyFault[]> {
  let present: ReadonlySet<string>;
  try {
    present = new Set(await readdir(certificates));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    return [fileFault(certificates, `cannot be read: ${code}`)];
  }
  return [...serverNames].flatMap((serverName) => {
    const folder = identityFolder('', serverName);
    return present.has(folder)
      ? []
      : [fileFault(join(certificates, folder), `there is no folder for ${serverName}`)];
  });
}
