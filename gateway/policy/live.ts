/** The policy in force: one reference, which a reload swaps as a whole. */

import { formatFault, inFileOrder, type PolicyFault } from '../core/fault.ts';
import { type CompilationWatcher, type LoadOutcome, loadPolicy } from './load.ts';
import type { Policy } from './policy.ts';
import type { PolicyFiles } from './policy-files.ts';
import type { PolicySources } from './sources.ts';

export interface ReloadOutcome {
  readonly successful: boolean;
  readonly policy: Policy;
  readonly faults: readonly PolicyFault[];
  /** The faults to report: all if the files were read, otherwise those that are new. */
  readonly news: readonly PolicyFault[];
}

/** The result of the load that a gateway starts with. */
export type LoadedPolicy = Pick<LoadOutcome, 'files' | 'etcdFaults'> & { readonly policy: Policy };

/**
 * Holds the current policy. `reload` reads all of it again; a change in etcd only reads the tenants there and keeps the
 * files as they were last read, since someone may be in the middle of editing them.
 */
export class LivePolicy {
  readonly #folder: string;
  readonly #sources: PolicySources;
  readonly #nowMs: () => number;
  readonly #onReload: (outcome: ReloadOutcome) => void;
  readonly #onCompiled: CompilationWatcher | undefined;
  #current: Policy;
  /** The files as last read without a fault in `gateway.yaml`. */
  #files: PolicyFiles;
  /** `gateway.yaml` of the policy in force. */
  #gateway: PolicyFiles['gateway'];
  #faults: readonly PolicyFault[];
  /** The faults that kept the files on disk from replacing `#files`. */
  #refused: readonly PolicyFault[] = [];
  #filesAsked = false;
  #running: Promise<ReloadOutcome> | undefined;
  #next: Promise<ReloadOutcome> | undefined;
  #isClosed = false;

  /** The loaded policy must come from `folder` and `sources`. `onReload` is called after the swap of every reload. */
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

  /** The current state, as if a reload had just found all of its faults. */
  get outcome(): ReloadOutcome {
    return this.#outcome(new Set());
  }

  /** From now on, puts changes of the tenants in etcd in force. */
  follow(): void {
    this.#sources.tenants.subscribe(() => void this.#request());
  }

  /**
   * Reads the folder and etcd. Whatever has faults keeps its last good version. Calls during a reload share the next
   * one, because the running one may have read files before their latest change.
   */
  reload(): Promise<ReloadOutcome> {
    this.#filesAsked = true;
    return this.#request();
  }

  /** Keeps the policy in force: a reload that ends later changes nothing, opens nothing, and is not reported. */
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
      // Nobody else would close the sources that it has opened since `close`.
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
   * `told` holds the faults reported before; it is undefined if the files were read. Then the faults of lists and keys
   * count as well; otherwise those are reported when they occur.
   */
  #outcome(told: ReadonlySet<string> | undefined): ReloadOutcome {
    const { faults: followed, tenants } = this.#sources;
    const faults = inFileOrder([...this.#faults, ...(told === undefined ? followed : tenants.faults)]);
    const news = told === undefined ? faults : this.#faults.filter((fault) => !told.has(formatFault(fault)));
    return { successful: faults.length === 0, policy: this.#current, faults, news };
  }
}
