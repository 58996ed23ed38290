/** The policy in force: one reference, swapped by a reload, never half. */

import { formatFault, inFileOrder, type PolicyFault } from '../core/fault.ts';
import { type CompilationWatcher, type LoadOutcome, loadPolicy } from './load.ts';
import type { Policy } from './policy.ts';
import type { PolicyFiles } from './policy-files.ts';
import type { PolicySources } from './sources.ts';

export interface ReloadOutcome {
  readonly successful: boolean;
  readonly policy: Policy;
  readonly faults: readonly PolicyFault[];
  /** Those to be told: all when the files were read, else the ones that were not there before. */
  readonly news: readonly PolicyFault[];
}

/** What a gateway starts with. */
export type LoadedPolicy = Pick<LoadOutcome, 'files' | 'etcdFaults'> & { readonly policy: Policy };

/**
 * Holds the current policy and reads it afresh: all of it when asked, and by itself what is in etcd when that changes.
 * The files then stay as they were last read, for someone may be amid editing them.
 */
export class LivePolicy {
  readonly #folder: string;
  readonly #sources: PolicySources;
  readonly #nowMs: () => number;
  readonly #onReload: (outcome: ReloadOutcome) => void;
  readonly #onCompiled: CompilationWatcher | undefined;
  #current: Policy;
  /** As they were last read without a fault in `gateway.yaml`. */
  #files: PolicyFiles;
  /** Of the policy in force. */
  #gateway: PolicyFiles['gateway'];
  #faults: readonly PolicyFault[];
  /** Why what is on disk now is not what `#files` has. */
  #refused: readonly PolicyFault[] = [];
  #filesAsked = false;
  #running: Promise<ReloadOutcome> | undefined;
  #next: Promise<ReloadOutcome> | undefined;
  #isClosed = false;

  /** `loaded` was read from `folder`, what it follows is of `sources`; `onReload` hears of every reload, after the swap. */
  constructor(
    folder: string,
    { policy, files, etcdFaults }: LoadedPolicy,
    sources: PolicySources,
    nowMs: () => number,
    onReload: (outcome: ReloadOutcome) => void,
    onCompiled?: CompilationWatcher,
  ) {
    this.#folder = folder;
    this.#current = policy;
    this.#files = files;
    this.#gateway = files.gateway;
    this.#faults = etcdFaults;
    this.#sources = sources;
    this.#nowMs = nowMs;
    this.#onReload = onReload;
    this.#onCompiled = onCompiled;
  }

  get current(): Policy {
    return this.#current;
  }

  /** Faults of the last reload. */
  get faults(): readonly PolicyFault[] {
    return this.#faults;
  }

  /** How it stands: as after a reload in which all of this is new. */
  get outcome(): ReloadOutcome {
    return this.#outcome(new Set());
  }

  /** From here on what changes in etcd is put in force. */
  follow(): void {
    this.#sources.tenants.subscribe(() => void this.#request());
  }

  /**
   * Reads the folder, and etcd. What has faults keeps its last good version. Calls during a reload share the one after
   * it: the running one may have read already what has changed since.
   */
  reload(): Promise<ReloadOutcome> {
    this.#filesAsked = true;
    return this.#request();
  }

  /** The policy in force stays: a reload that ends later changes nothing, opens nothing, and nobody hears of it. */
  close(): void {
    this.#isClosed = true;
  }

  #request(): Promise<ReloadOutcome> {
    if (this.#running === undefined) return this.#next ?? this.#start();
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#start();
      });
    return this.#next;
  }

  #start(): Promise<ReloadOutcome> {
    this.#running = this.#load().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #load(): Promise<ReloadOutcome> {
    const sources = this.#sources;
    const ofFiles = this.#filesAsked;
    this.#filesAsked = false;
    if (ofFiles) await sources.refresh();
    if (this.#isClosed) return this.#dropped;
    const files = ofFiles ? undefined : this.#files;
    const previous = this.#current;
    const read = await loadPolicy(this.#folder, this.#nowMs(), {
      previous,
      gatewayInForce: this.#gateway,
      sources,
      files,
      onCompiled: this.#onCompiled,
    });
    if (this.#isClosed) {
      // What it has opened since they were closed is nobody's.
      sources.close();
      return this.#dropped;
    }
    if (ofFiles) this.#refused = read.policy === undefined ? read.faults : [];
    if (read.policy !== undefined) this.#files = read.files;
    this.#current = read.policy ?? previous;
    if (this.#current.gateway !== previous.gateway) this.#gateway = read.files.gateway;
    const told = ofFiles ? undefined : new Set(this.#faults.map(formatFault));
    this.#faults = inFileOrder([...this.#refused, ...read.faults, ...read.etcdFaults]);
    sources.retain(this.#current);
    const outcome = this.#outcome(told);
    this.#onReload(outcome);
    return outcome;
  }

  get #dropped(): ReloadOutcome {
    return { ...this.outcome, successful: false };
  }

  /**
   * Lists say what is wrong with them whenever it comes about; when files are read it belongs to what was read. Without
   * the faults `told` before, nobody asked for the files.
   */
  #outcome(told: ReadonlySet<string> | undefined): ReloadOutcome {
    const { faults: followed, tenants } = this.#sources;
    const faults = inFileOrder([...this.#faults, ...(told === undefined ? followed : tenants.faults)]);
    const news = told === undefined ? faults : this.#faults.filter((fault) => !told.has(formatFault(fault)));
    return { successful: faults.length === 0, policy: this.#current, faults, news };
  }
}
